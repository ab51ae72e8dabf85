/* What PID 1 tells the supervisor. Doorbells all: the facts stand in the shared memory, sending
 * never blocks, and a packet that the channel does not take is counted there. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct exec_slot;
struct held;
struct output_pair;
struct pid1;

/* The supervisor is to fetch what was told. */
void report_ring(struct pid1 *p);

void report_hello(struct pid1 *p);
void report_reply(struct pid1 *p, uint64_t tag, int err, const char *text);
void report_pipes(struct pid1 *p, const struct output_pair *pair, bool ring);
void report_started(struct pid1 *p);
void report_execed(struct pid1 *p, uint64_t tag, const struct exec_slot *s, int pidfd, bool again);
void report_handed(struct pid1 *p, const struct held *name, int fd);
void report_record(struct pid1 *p);
void report_waiting(struct pid1 *p);

/* Everything that a new supervisor has to be told again. */
void report_all(struct pid1 *p);
