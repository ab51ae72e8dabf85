/* In an exec's child: its plan laid over the container's. Both are mapped back to back, privately,
 * and the copy of the container's head then points to what the exec has of its own, so that the
 * steps of a run (init/spawn.c, and shim/launch/service.c without init) need not know the
 * difference. libc-neutral: shared with init. */
#pragma once

#include <stddef.h>

#include "ipc/exec_plan.h"

struct exec_view {
	const struct plan *plan;      /* as the steps want it */
	const struct exec_plan *exec; /* for its environment */
};

/* Of two descriptors; size: of the container's plan. 0, or -errno when the exec's is not sound. */
int exec_view_open(struct exec_view *ret, int plan, size_t size, int exec_plan);

/* The environment, at most exec_view_env_len() strings and a NULL. */
size_t exec_view_env_len(const struct exec_view *v);
void exec_view_env(const struct exec_view *v, char **at);
