/* The options of `holdfast run` about names, and which of the host's files show. ctx of each is
 * struct run. */
#pragma once

#include "cli/options.h"

int opt_add_host(void *ctx, const struct option *o, const char *value);
int opt_dns(void *ctx, const struct option *o, const char *value);
int opt_dns_search(void *ctx, const struct option *o, const char *value);
int opt_dns_option(void *ctx, const struct option *o, const char *value);
int opt_pidfile(void *ctx, const struct option *o, const char *value);
int opt_hostname(void *ctx, const struct option *o, const char *value);
int opt_host_files(void *ctx, const struct option *o, const char *value);
