/* The kernel killed for lack of memory somewhere in the container while the service lives. The
 * group's kill that the OOM policy may want is ours: memory.oom.group would take PID 1 with it. */
#pragma once

struct pid1;

/* The memory group has news. */
void oom_event(struct pid1 *p);

/* DUE_OOM: reads the counter and acts on growth. */
void oom_look(struct pid1 *p);
