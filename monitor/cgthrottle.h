/* Takes from a container for a while: what is changed is noted in undo (monitor/cglimit.h) before
 * it is changed. */
#pragma once

#include <stddef.h>

#include "monitor/cglimit.h"

enum throttle_what {
	THROTTLE_MEMORY, /* no more than it uses now, without reclaim; v1: soft limit, and CPU */
	THROTTLE_CPU,	 /* percent of its quota, or of the host */
	THROTTLE_IO,	 /* percent of what it moves now, of each disk */
};

/* 0 or a fault: nothing was changed. What was, in words, in text. */
int cgthrottle(const struct cghier *h, const char *path, enum throttle_what what, unsigned percent,
	struct cglimit_undo *undo, char *text, size_t size);

/* Has this host what it takes? */
bool cgthrottle_can(const struct cghier *h, enum throttle_what what);
