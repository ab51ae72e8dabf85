/* The exit ring in the shared memory: one record per run that ended, kept until the supervisor has
 * acknowledged it. When nobody does, exits of one kind are counted into the newest record and
 * others into an explicit gap, whose slot is always held free: nothing is overwritten, nothing is
 * silent. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/shared.h"

/* Only the slot of the gap is left: restarts are slowed down. */
bool ring_full(const struct shared *shared);
/* True when it will be with the next record. */
bool ring_fills(const struct shared *shared);

/* Writes r (its seq, count and sum are set here) through fd, then moves the head. */
void ring_write(struct shared *shared, int fd, struct exit_record *r);

/* Writes r, which ring_write() has written, once more. false: it is acknowledged, or not alone. */
bool ring_amend(struct shared *shared, int fd, struct exit_record *r);

/* Everything up to seq is journalled, the record of that number when it counted so many exits (0:
 * not said). true: more were counted into it since, which are a record of their own now. A number
 * that was never given is not believed. */
bool ring_ack(struct shared *shared, int fd, uint64_t seq, uint32_t count);
