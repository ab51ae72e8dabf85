/* --mount of `holdfast run`: docker's words for a volume or a memory file system. */
#pragma once

#include <stdbool.h>

#include "cli/options.h"

/* Absolute, and no way out of it by "..". */
bool opt_path_ok(const char *path);

/* type=bind|tmpfs,KEY=VALUE,...; ctx is struct run. */
int opt_mount(void *ctx, const struct option *o, const char *value);
