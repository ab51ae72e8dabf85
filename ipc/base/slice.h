/* How long this thread wants to run at a time (sched_setattr(2), sched_runtime; Linux 6.12). Who
 * asks for long is preempted by whoever wakes up and asks for less: for work that nobody waits for.
 * A wish: older kernels take no notice. */
#pragma once

#include <stdint.h>

void slice_ask(uint64_t usec); /* 100 us to 100 ms */

/* Waking up, this thread and those that it makes preempt nobody (SCHED_BATCH, sched(7)). Where that
 * is refused nothing is changed. */
void slice_stand_back(void);

/* In a child, for what it is to become: the policy from before. */
void slice_come_forward(void);
