/* What the kernel may do for us beyond 6.1, the oldest that is supported: one row for each feature
 * that is used where it exists and done without where it doesn't. Asked at the place of use, before
 * the kernel itself is: HOLDFAST_KERNEL=6.1 in the environment takes away everything newer, so that
 * one machine shows both. */
#pragma once

#include <stdbool.h>

enum have_feature {
	HAVE_TMPFS_IDMAP, /* 6.3: a rootfs on tmpfs can be shown id-mapped */
	HAVE_PIDFD_EXIT,  /* 6.15: a held pidfd tells the status of a process that others reaped */
	HAVE_FEATURES,
};

/* false: not to be used. true: ask the kernel, whose refusal means the same. A HOLDFAST_KERNEL that
 * is no version takes away everything. */
bool have(enum have_feature feature);

/* "6.15": since when. */
const char *have_since(enum have_feature feature);
