/* The real shim without its processes: all of its sources, a keeper and an init that are only the
 * other ends of their channels, and a state directory (the current one). */
#pragma once

#include "shim/shim.h"

struct rig {
	struct shim shim;
	int keeper, init; /* the other ends */
};

/* Once per process. */
void rig_open(struct rig *rig);
/* As it was after rig_open(): a service that runs, an empty journal but for its start. */
void rig_reset(struct rig *rig);
void rig_turn(struct rig *rig); /* one turn of its loop, without waiting */
void rig_drain(int fd);		/* throws away what was sent to it, descriptors too */
