/* Adoption: a new keeper and shim around a PID 1 whose supervisors have both died. PID 1 hands out
 * what they must have at its door (init/door.h); a keeper takes that over as from a shim whose
 * keeper has died. Everything that comes out of the container is taken for hostile. */
#pragma once

#include "cli/state.h"

enum adopt_outcome {
	ADOPT_DONE,
	ADOPT_NOTHING, /* it is supervised, has ended, or never ran */
};

/* An outcome, or a fault: it may run, and can't be adopted; nothing has changed. */
int adopt(const struct state *s);

/* Under the lock, which it takes over: a new pair in any case. One that can't go on with what is
 * there ends it, which is said on stderr. 0 or a fault. */
int adopt_or_end(const struct state *s, int lock);
