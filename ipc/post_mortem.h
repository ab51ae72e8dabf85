/* What was around a container's newest runs when they ended: file `postmortem` in its state
 * directory, a row of slots of fixed size; run N has slot N modulo their number. A slot whose sum
 * does not fit is empty. Written by the shim, read by whoever wants to know. The layout only
 * grows. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/logfile.h"
#include "ipc/verbs.h"

#define POST_MORTEM_MAGIC  0x747265746d7066ULL
#define POST_MORTEM_SLOTS  16u
#define POST_MORTEM_SLOT   8192u
#define POST_MORTEM_OUTPUT 4096u

/* What is there; a host may lack its source. */
enum post_mortem_has {
	POST_MORTEM_PEAK = 1u << 0,
	POST_MORTEM_EVENTS = 1u << 1, /* memory.high, max, oom */
	POST_MORTEM_OOM_KILL = 1u << 2,
	POST_MORTEM_PRESSURE = 1u << 3,
	POST_MORTEM_THROTTLED = 1u << 4,
	POST_MORTEM_TAIL = 1u << 5, /* output is what it ends with */
};

/* Totals of the sandbox. */
struct counters {
	uint32_t has, pad; /* enum post_mortem_has */
	uint64_t memory_high, memory_max, memory_oom, memory_oom_kill;
	uint64_t memory_some_usec, memory_full_usec;
	uint64_t throttled_usec;
};

struct post_mortem {
	uint64_t magic;
	uint32_t size; /* of this head */
	uint32_t sum;  /* of all behind it: head and output */
	struct exit_info exit;
	uint32_t has;
	uint32_t output_len;
	uint64_t memory_peak;	     /* of the sandbox so far */
	struct counters grown;	     /* in this run */
	struct counters end;	     /* at its end */
	uint64_t begin[LOG_STREAMS]; /* offsets of its output's first byte */
	char cause[192];
	char by[48];
	/* output follows */
};
_Static_assert(sizeof(struct post_mortem) + POST_MORTEM_OUTPUT <= POST_MORTEM_SLOT, "fits");

struct post_mortem_full {
	struct post_mortem head;
	char output[POST_MORTEM_OUTPUT];
};

/* The run's. 0, -ENOENT: there is none, or a fault. */
int post_mortem_read(int fd, uint32_t run, struct post_mortem_full *ret);

/* Fills in magic, size and sum. 0 or a fault. */
int post_mortem_write(int fd, struct post_mortem_full *p);

/* The newest runs before `before_run` (0: all), newest first, at most `limit` of them. What a run
 * wrote is read from log_dirfd (-1: not) where the slot does not have it yet; with whole, only when
 * all of it is there: somebody is still moving the rest. How many, or a fault. */
int post_mortem_list(int state_dirfd, int log_dirfd, bool whole, uint32_t before_run,
	struct post_mortem_full *ret, size_t limit);

/* What the run's output ends with, read from the log. */
void post_mortem_output(struct post_mortem_full *p, int log_dirfd);
