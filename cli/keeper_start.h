/* Starts a keeper for a container: at its birth, and again where keeper and shim both have died
 * (the shim then finds the journal and recovers). */
#pragma once

#include "cli/state.h"

/* Finds the installed programs; a fault names what is missing. Nothing is started. */
int keeper_check(void);

/* Takes over lock (an OFD lock on the state directory's `lock`) and inherit, the channel in which
 * the keeper finds what it shall hold (-1: nothing). Returns once clients may connect. 0 or a
 * fault; then no keeper of ours is left. */
int keeper_start(const struct state *s, int lock, int inherit);

/* Removes the supervisors' own cgroup, as far as it is empty. A keeper does so itself when it
 * leaves; this is for one that was killed. */
void keeper_group_discard(const char *id);
