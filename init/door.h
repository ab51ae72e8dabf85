/* The door: where a new pair of supervisors comes in when both of the old one have died, and what
 * it finds there. The connection that is let in is the channel from then on; over it the adopter
 * asks for each descriptor that keeper and shim must have (ipc/verbs.h: INIT_HAND). What PID 1 has
 * no use for itself the supervisor has left here for that day (INIT_KEEP), under the keeper's
 * names.
 */
#pragma once

#include <stdint.h>

#include "ipc/verbs.h"

#define DOOR_KEPT_MAX 40u

struct pid1;

struct door {
	uint32_t count;
	struct door_kept {
		struct held name;
		int fd; /* above every number that a run gives its own */
	} kept[DOOR_KEPT_MAX];
};

/* Takes over fd. Full: it is closed, and an adopter does without. */
void door_keep(struct door *d, const struct held *name, int fd);
void door_unkeep(struct door *d, const struct held *name);

int door_find(const struct door *d, uint32_t kind); /* the first of this kind, or -1 */

/* Somebody knocks, and nobody supervises. */
void door_answer(struct pid1 *p);

/* The at-th thing that an adopter needs: a descriptor of ours and its name; -1: there are no more.
 */
int door_nth(const struct pid1 *p, uint32_t at, struct held *name);
