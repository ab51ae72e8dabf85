/* The options of `holdfast run` about the process: environment, labels, capabilities, limits of its
 * own, security. ctx of each setter is struct run. */
#pragma once

#include "cli/options.h"

struct run;

int opt_env(void *ctx, const struct option *o, const char *value);
int opt_env_file(void *ctx, const struct option *o, const char *value);
int opt_label(void *ctx, const struct option *o, const char *value);
int opt_cap(void *ctx, const struct option *o, const char *value);
int opt_sysctl(void *ctx, const struct option *o, const char *value);
int opt_ulimit(void *ctx, const struct option *o, const char *value);
int opt_oom_score(void *ctx, const struct option *o, const char *value);
int opt_security(void *ctx, const struct option *o, const char *value);

/* What makes no sense together: 0 or a fault. */
int opt_process_check(const struct run *run);
