/* Whose memory had run out when the kernel killed: what init could not tell, and all of it without
 * an init. */
#pragma once

#include <stdint.h>

#include "ipc/verbs.h"

struct shim;

/* A sandbox is about to be made: what is seen from now on is its own. */
void oom_begin(struct shim *s);

/* e: an exit or a kill with EXIT_OOM_WHOSE as init has it; kills: the group's, as it had counted
 * them. Leaves as few of its bits as can be told. */
void oom_narrow(struct shim *s, struct exit_info *e, uint64_t kills);

/* Of a run without init that has just ended: EXIT_OOM_SEEN and whose memory it was. */
void oom_into(struct shim *s, struct exit_info *e);
