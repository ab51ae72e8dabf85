/* The options of `holdfast run` about what outlives a run: listeners, and the socket by which the
 * service says that it is ready. ctx of each setter is struct run. */
#pragma once

#include "cli/options.h"

int opt_listen(void *ctx, const struct option *o, const char *value);
int opt_notify(void *ctx, const struct option *o, const char *value);
