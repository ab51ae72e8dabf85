/* The container's counter files, through descriptors held since launch. Kept as raw bytes: PID 1
 * reads one number out of them, the kills for lack of memory. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ipc/shared.h"

struct pid1;

/* Reads each file once. The kernel allocates a buffer at a file's first read, charged to the
 * reader: in a group at its limit that read is the next OOM kill, and takes the service (measured).
 */
void counters_warm(const struct pid1 *p);

/* All of them, as they stand now. A file that the container lacks has length 0. */
void counters_read(const struct pid1 *p, struct exit_record *r);

/* The value of "oom_kill N" in memory.events (v2) or memory.oom_control (v1); 0 without such a
 * line. */
uint64_t counter_oom_kills(const char *text, size_t len);

/* The same, read from the held file now. */
uint64_t counter_oom_now(const struct pid1 *p);
