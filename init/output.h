/* The service's output pipes: a fresh pair per run. The write ends belong to the service alone; PID
 * 1 keeps a read end of every pair that has not been drained, so that nobody gets EPIPE and nothing
 * is lost when the supervisor dies. At most OUTPUT_PAIRS of them: then the newest one is used
 * again. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define OUTPUT_PAIRS 4

enum { STREAM_OUT, STREAM_ERR, STREAMS };

struct output_pair {
	uint32_t first, last; /* runs that write to it; last 0: free */
	uint32_t size;	      /* what the kernel gave, bytes */
	uint32_t ended;	      /* bit s: stream s is known to be at its end */
	int read[STREAMS];
};

struct output {
	struct output_pair pairs[OUTPUT_PAIRS]; /* in use: the first `count`, oldest first */
	uint32_t count;
	int write[STREAMS]; /* of the newest pair: during a spawn, and while no fresh one is left */
};

void output_init(struct output *o);

/* Makes output ready for a run. The pair, whose write ends are o->write until output_spawned();
 * NULL when there are no descriptors (errno). */
struct output_pair *output_next(struct output *o, uint32_t run, uint32_t size);

/* The service has its write ends: ours are closed, except when the next run may need them again. */
void output_spawned(struct output *o);

/* Nobody reads the runs up to this one any more; `current` (0: none) is kept. */
void output_drained(struct output *o, uint32_t run, uint32_t current);
