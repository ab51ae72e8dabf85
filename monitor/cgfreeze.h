/* Stops every process of a group and lets them go on: cgroup.freeze where there is a v2 tree, else
 * v1's freezer. */
#pragma once

#include <stdbool.h>

#include "ipc/cghier.h"

/* Returns when all stand still (or go on again). What does not stand still in time (it waits inside
 * the kernel for something that no signal ends) is let go again: -EBUSY. 0 or a fault. */
int cgfs_freeze(const struct cghier *h, const char *path, bool freeze);

/* Is the group there, and was it told to stand still? */
bool cgfs_frozen(const struct cghier *h, const char *path);
