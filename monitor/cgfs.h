/* A container's group in every hierarchy of this host: end it, and take it away. Paths are below
 * each hierarchy's root, as settings.cgroup gives them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/cghier.h"

/* SIGKILL to every process in the group and below: cgroup.kill where there is a v2 tree, else
 * freeze, kill, thaw on v1. Does not wait. A group that does not exist is fine. 0 or a fault. */
int cgfs_kill(const struct cghier *h, const char *path);

/* How many leading components of the path exist in any hierarchy: what was there before us. */
uint32_t cgfs_existing(const struct cghier *h, const char *path);
uint32_t cgfs_depth(const char *path); /* components in all */

/* Removes the group everywhere, with children that a service made, then its parents that are empty
 * and deeper than `kept` components (below /holdfast all are ours). 0: gone; -EBUSY: processes are
 * still dying, try again; else a fault. */
int cgfs_remove(const struct cghier *h, const char *path, uint32_t kept);

/* Whether any process is left in the group in any hierarchy. */
bool cgfs_populated(const struct cghier *h, const char *path);

/* OOM kills in the group so far (memory.events or memory.oom_control). 0, or a fault when it can't
 * be read. */
int cgfs_oom_kills(const struct cghier *h, const char *path, uint64_t *ret);
