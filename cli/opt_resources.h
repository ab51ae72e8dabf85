/* The options of `holdfast run` about memory, CPU, I/O and devices. ctx of each setter is struct
 * run. */
#pragma once

#include "cli/options.h"

struct run;

int opt_memory(void *ctx, const struct option *o, const char *value);
int opt_memory_swap(void *ctx, const struct option *o, const char *value);
int opt_size(void *ctx, const struct option *o, const char *value);	  /* at o->at, not 0 */
int opt_weight(void *ctx, const struct option *o, const char *value);	  /* at o->at, 1..10000 */
int opt_cpu_weight(void *ctx, const struct option *o, const char *value); /* and idle */
int opt_pids(void *ctx, const struct option *o, const char *value);
int opt_cpuset_cpus(void *ctx, const struct option *o, const char *value);
int opt_cpuset_mems(void *ctx, const struct option *o, const char *value);
int opt_device(void *ctx, const struct option *o, const char *value);

/* What makes no sense together: 0 or a fault. */
int opt_resources_check(const struct run *run);
