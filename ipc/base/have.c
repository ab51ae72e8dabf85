#include "ipc/base/have.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const since[HAVE_FEATURES] = {
	[HAVE_TMPFS_IDMAP] = "6.3",
	[HAVE_PIDFD_EXIT] = "6.15",
};

/* Versions as numbers that compare; 0: not a version. */
static unsigned version(const char *text)
{
	unsigned major, minor;
	char rest;

	if (sscanf(text, "%u.%u%c", &major, &minor, &rest) != 2 || major > 999 || minor > 999)
		return 0;
	return major * 1000 + minor;
}

bool have(enum have_feature feature)
{
	const char *mask = getenv("HOLDFAST_KERNEL");
	unsigned newest = mask && mask[0] ? version(mask) : UINT_MAX;

	return version(since[feature]) <= newest;
}

const char *have_since(enum have_feature feature)
{
	return since[feature];
}
