/* Removes what a run left behind: the contents of our tmpfs, System V objects, POSIX queues. In a
 * child of PID 1 that takes the owners' ids, since PID 1 lacks CAP_DAC_OVERRIDE: the owner of a
 * directory may empty it, and the owner of an IPC object may remove it. */
#pragma once

#include "ipc/plan.h"

/* Child's body: 0, or 1 when something could not be removed. The caller looks for itself. */
int scrub(const struct plan *head);

/* Calls f for each directory that must be empty between two runs. */
void scrub_each_place(const struct plan *head, void (*f)(void *ctx, const char *path), void *ctx);
