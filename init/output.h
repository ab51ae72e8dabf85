/* The service's output pipes: a fresh pair per run. PID 1 keeps a read end of every pair that has
 * not been drained, so that nobody gets EPIPE and nothing is lost when the supervisor dies. At most
 * OUTPUT_PAIRS of them: then the newest one is used again. It keeps the write ends for as long as
 * the run lasts: the end of file, which makes the supervisor work, comes when the next run has
 * begun. */
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
	int write[STREAMS]; /* of the newest pair */
	int old[STREAMS];   /* of the one before, until output_rest() */
};

void output_init(struct output *o);

/* Makes output ready for a run. The pair, whose write ends are o->write; NULL when there are no
 * descriptors (errno). */
struct output_pair *output_next(struct output *o, uint32_t run, uint32_t size);

/* The end of file for the run before this one. */
void output_rest(struct output *o);

/* The run has ended, and the next one does not begin at once: the end of file for it as well,
 * unless the next run needs its pipes. */
void output_ended(struct output *o);

/* Nobody writes to this stream's pipe (it is merged with the other). */
void output_unused(struct output *o, int stream);

/* Nobody reads the runs up to this one any more; `current` (0: none) is kept. */
void output_drained(struct output *o, uint32_t run, uint32_t current);
