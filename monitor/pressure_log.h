/* The newest samples of one container: a ring in the file `pressure` of its state directory, so
 * that they can be drawn whoever is alive, and after its end. Written by the shim while it
 * looks, which it only does when something is near: twice a second, each time that it acts, and
 * before it looks away. What lies between two samples was quiet, and the totals of stalls say how
 * quiet.
 *
 * File: struct pressure_log_head, then slots of one size, each written by one pwrite and with its
 * own sum: a torn one is none. Samples that come faster than the ring can hold for some minutes
 * share a slot, and the newest is always there. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/base/proc.h"

#define LOGGED_MAX 680u /* nearly seven minutes of looking without a pause */

enum logged_figure {
	LOGGED_MEMORY, /* bytes in use */
	LOGGED_LIMIT,  /* bytes; absent: none */
	LOGGED_PIDS,
	LOGGED_STALLS, /* totals of stalls, usec: memory some, full, cpu some, full, io some, full
			*/
	LOGGED_FIGURES = LOGGED_STALLS + 6,
};

struct logged {
	uint32_t sum; /* sum_bytes() of everything behind it */
	uint32_t seq; /* from 1; its slot is its remainder */
	uint64_t boot_usec;
	uint32_t run;
	uint32_t has; /* bit n: value[n] is there */
	uint64_t value[LOGGED_FIGURES];
};

struct pressure_log_head {
	uint64_t magic;
	uint32_t version, slot_size, slots, pad;
	char boot_id[BOOT_ID_LEN + 4]; /* whose CLOCK_BOOTTIME it is */
};

static inline bool logged_has(const struct logged *s, unsigned figure)
{
	return s->has >> figure & 1;
}

static inline void logged_put(struct logged *s, unsigned figure, uint64_t value)
{
	s->has |= 1u << figure;
	s->value[figure] = value;
}

/* Who writes: all zeros to begin with, then it goes on behind what a predecessor has written. */
struct pressure_log {
	uint32_t seq; /* of the newest; 0: not looked at yet */
	uint64_t newest, before;
};

/* The newest sample is so old that it is time for another. now: CLOCK_BOOTTIME, usec. */
bool pressure_log_due(const struct pressure_log *l, uint64_t now);

/* Adds a sample (its sum and seq are set here). 0 or a fault: then this one is not kept. */
int pressure_log_add(
	struct pressure_log *l, int state_dirfd, const char *boot_id, struct logged *sample);

struct pressure_past {
	char boot_id[BOOT_ID_LEN + 1];
	size_t len;
	struct logged samples[LOGGED_MAX]; /* oldest first */
};

/* 0, or a fault: -ENOENT there is none, -EBADMSG it is not one that is known here. */
int pressure_log_read(int state_dirfd, struct pressure_past *ret);
