/* How long this thread wants to run at a time (sched_setattr(2), sched_runtime; Linux 6.12). Who
 * asks for long is preempted by whoever wakes up and asks for less: for work that nobody waits for.
 * A wish: older kernels take no notice. */
#pragma once

#include <stdint.h>

void slice_ask(uint64_t usec); /* 100 us to 100 ms */
