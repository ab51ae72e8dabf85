/* Removes what a run left behind: the contents of our tmpfs, System V objects, POSIX queues. In a
 * child of PID 1 that takes the owners' ids, since PID 1 lacks CAP_DAC_OVERRIDE: the owner of a
 * directory may empty it, and the owner of an IPC object may remove it. */
#pragma once

#include <stdbool.h>

#include "ipc/plan.h"

/* Child's body, always 0: what could not be removed is found by whoever looks afterwards. */
int scrub(const struct plan *head);

/* Calls f for each directory that must be empty between two runs; fd is closed afterwards. false:
 * one of them could not be opened, or is not the file system that launch made there. */
bool scrub_each_place(const struct plan *head, void (*f)(void *ctx, int fd), void *ctx);
