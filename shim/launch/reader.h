/* Stage 1: config.json is read by a child that can do nothing: nobody's id, no capability, a filter
 * of its own, two memfds to write to. What it leaves is data to be checked. */
#pragma once

#include "ipc/plan.h"
#include "ipc/settings.h"
#include "shim/launch/sandbox.h"

struct reading {
	const struct sandbox *sandbox; /* mapped read-only, checked */
	struct plan *plan;	       /* mapped shared, writable until reader_freeze() */
	int plan_fd;
};

/* Reads config.json of the state directory. 0: *ret is filled (sandbox->outcome may still be
 * LAUNCH_BAD_CONFIG with its sentence); or a fault: this host could not do it. */
int reader_run(int state_dirfd, const struct settings *set, struct reading *ret);

/* The parent's last word to the plan: ret->plan stays readable, and nothing maps it for writing. */
int reader_freeze(struct reading *ret);

/* Seals the plan for good, once the child has put its own part in. 0 or a fault. */
int reader_seal(const struct reading *ret);
