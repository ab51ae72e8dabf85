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

/* How often the group's own limit of memory had no more (memory.events.local, v2 only). 0 or a
 * fault. */
int cgfs_memory_ooms(const struct cghier *h, const char *path, uint64_t *ret);

/* The groups around it, all the way up. */
struct cgfs_around {
	bool limited;  /* one at least has a limit of memory */
	uint64_t ooms; /* how often their limits had no more; on v1, how often they were met */
};
void cgfs_memory_around(const struct cghier *h, const char *path, struct cgfs_around *ret);

/* Its own limit of memory, bytes; UINT64_MAX: none. */
int cgfs_memory_limit(const struct cghier *h, const char *path, uint64_t *ret);

/* The most memory that the group has used so far, bytes (memory.peak or
 * memory.max_usage_in_bytes). 0, or a fault when it can't be read. */
int cgfs_memory_peak(const struct cghier *h, const char *path, uint64_t *ret);
