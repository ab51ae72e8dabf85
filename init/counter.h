/* The container's counter files, through descriptors held since launch. Kept as raw bytes: PID 1
 * reads the kills for lack of memory out of them. */
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

/* The value of "KEY N", a line of memory.events (v2) or memory.oom_control (v1); 0 without it. The
 * key ends with its blank: "oom_kill ". */
uint64_t counter_value(const char *text, size_t len, const char *key);

/* The memory group's file as it is now. Returns its length. */
size_t counter_memory(const struct pid1 *p, char ret[RAW_BYTES]);
