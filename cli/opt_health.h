/* Options about a run's health: probes, docker's health check, the watchdog, pressure. */
#pragma once

#include <stdbool.h>

#include "cli/options.h"

struct run;

int opt_probe(void *ctx, const struct option *o, const char *value);
int opt_health_cmd(void *ctx, const struct option *o, const char *value);
int opt_health_time(void *ctx, const struct option *o, const char *value); /* at in struct run */
int opt_health_retries(void *ctx, const struct option *o, const char *value);
int opt_watchdog(void *ctx, const struct option *o, const char *value);
int opt_start_timeout(void *ctx, const struct option *o, const char *value);
int opt_pressure_watch(void *ctx, const struct option *o, const char *value);
int opt_healthy_after(void *ctx, const struct option *o, const char *value);

/* What makes no sense together: 0 or a fault. */
int opt_health_check(const struct run *run);

/* Settings and environment that follow from the options. notifies: a rule tells the service. */
int opt_health_fill(struct run *run, bool notifies);
