/* Where this host has its cgroup hierarchies: pure v2, hybrid or v1. Found once from mountinfo.
 * Chosen controller by controller; what a host lacks has no root and is reported by `check`. */
#pragma once

#include <stdbool.h>

enum cg_controller {
	CG_MEMORY,
	CG_CPU,
	CG_CPUACCT,
	CG_PIDS,
	CG_DEVICES,
	CG_FREEZER,
	CG_CPUSET,
	CG_BLKIO, /* v2: io */
	CG_CONTROLLERS,
};

struct cg_place {
	char root[128]; /* mount point, "" if the host has none */
	bool v2;
};

struct cghier {
	char unified[128]; /* the v2 tree's mount point (kill, freeze, pressure), "" if none */
	bool pure_v2;	   /* nothing is on v1 */
	struct cg_place at[CG_CONTROLLERS];
};

/* 0 or a fault (unreadable mountinfo). A host without any cgroup is not a fault. */
int cghier_find(struct cghier *ret);

/* Calls f once for every distinct mount point that holds a group of a container: the v2 tree and
 * each v1 hierarchy. Stops at the first non-zero answer and returns it. */
int cghier_each(const struct cghier *h, int (*f)(void *ctx, const char *root, bool v2), void *ctx);
