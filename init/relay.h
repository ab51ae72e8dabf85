/* Signals: from the signalfd to the service. SIGTERM from outside the pid namespace is a stop,
 * since a host that shuts down must not be answered with restarts; everything else that can be
 * forwarded is. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct pid1;

/* All signals but those that a fault of our own raises. */
uint64_t relay_blocked(void);

/* What a process that forwards gives the one that it forwards to: signo itself, a stand-in, or 0.
 */
int relay_translate(int signo, bool tty);

/* Reads what the signalfd has, within bounds, and forwards. True if children may have ended. */
bool relay_read(struct pid1 *p);

/* To the service: 0, or -ESRCH when none runs. */
int relay_service(struct pid1 *p, int signo);

/* To every process of the pid namespace but PID 1. -EPERM unless this is PID 1 of a namespace that
 * was made for this container: anywhere else kill(-1) would hit strangers. Asked at every call. */
int relay_everybody(const struct pid1 *p, int signo);
