/* The container's cgroups, for those who write into them. */
#pragma once

#include "shim/launch/launch.h"

/* The directory that has the controller's files; < 0: the host has none. Borrowed. */
int group_dir(const struct launch *l, enum cg_kind kind);
bool group_on_v2(const struct launch *l, enum cg_kind kind);
