/* The mounts of `holdfast run`. ctx of each setter is struct run. */
#pragma once

#include <stdbool.h>

#include "cli/options.h"

/* Absolute, and no way out of it by "..". */
bool opt_path_ok(const char *path);

int opt_volume(void *ctx, const struct option *o, const char *value); /* SRC:DST[:ro|rw] */
int opt_tmpfs(void *ctx, const struct option *o, const char *value);  /* DST[:OPTIONS] */

/* docker's words: type=bind|tmpfs,KEY=VALUE,... */
int opt_mount(void *ctx, const struct option *o, const char *value);
