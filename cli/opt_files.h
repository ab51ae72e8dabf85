/* The options of `holdfast run` about names: hosts and resolv.conf. ctx of each is struct run. */
#pragma once

#include "cli/options.h"

int opt_add_host(void *ctx, const struct option *o, const char *value);
int opt_dns(void *ctx, const struct option *o, const char *value);
int opt_dns_search(void *ctx, const struct option *o, const char *value);
int opt_dns_option(void *ctx, const struct option *o, const char *value);
