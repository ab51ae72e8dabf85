/* The pump: a thread that moves the service's output into the log and does nothing else, since a
 * splice into a file can block for seconds while the kernel throttles writers. Each run has a fresh
 * pair of pipes; they are drained in the order of the runs. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "ipc/base/loop.h"
#include "shim/sink.h"

#define PUMP_RUNS_MAX 8 /* undrained runs per stream; init keeps at most 4 */

struct pump_run {
	uint32_t run;
	int fd;	    /* read end of the pipe (or of the terminal's); owned by the pump */
	int tty;    /* terminal master that feeds the pipe, -1: none; owned */
	int tty_in; /* the pipe's write end, for the terminal; owned */
	bool dead;  /* nobody of that run is alive: empty means drained */
};

struct pump_stream {
	struct sink sink;
	struct pump_run runs[PUMP_RUNS_MAX];
	unsigned len;
	uint64_t offset;  /* the sink's, for other threads */
	bool busy;	  /* a splice is under way: offset and pipe do not add up */
	uint64_t dropped; /* bytes, since the owner looked last */
	int err;	  /* why they were dropped */
	uint32_t drained; /* newest run that is drained */
};

struct pump {
	pthread_t thread;
	bool running;
	bool stop;
	bool paused;
	bool block_when_full;
	pthread_mutex_t lock; /* everything in streams but the sinks and the descriptors' content */
	struct pump_stream streams[LOG_STREAMS];
	int wake;	       /* eventfd, to the thread */
	struct loop_io notice; /* eventfd, from the thread */
	void (*changed)(
		struct pump *p, void *ctx); /* on the loop: a run was drained, bytes dropped */
	void *ctx;
};

/* Opens the logs and starts the thread. 0 or a fault. */
int pump_start(struct pump *p, struct loop *loop, int log_dirfd, const struct settings *settings,
	void (*changed)(struct pump *p, void *ctx), void *ctx);

/* Stops the thread after the splice under way; every descriptor stays open (for a successor). */
void pump_halt(struct pump *p);

/* The same, and closes everything. */
void pump_finish(struct pump *p);

/* Takes over the descriptors. A run that is already there is left alone (the new ones are closed).
 */
void pump_add(struct pump *p, enum log_stream s, struct pump_run run);

/* The newest run's pipes go on as those of `run`: true, or false when they are not here any more.
 */
bool pump_reuse(struct pump *p, enum log_stream s, uint32_t run);

/* Paused, nothing is moved: runs that arrive in any order are then drained in theirs. */
void pump_pause(struct pump *p, bool paused);

/* Everybody who could still write to runs up to this one is dead. */
void pump_run_dead(struct pump *p, uint32_t run);

/* Stream offset at which the output of `run` ends, now that nobody writes to it any more. *exact is
 * false when a splice under way made it an estimate. */
uint64_t pump_run_end(struct pump *p, enum log_stream s, uint32_t run, bool *exact);

/* All runs are drained. */
bool pump_idle(struct pump *p);
uint32_t pump_drained(struct pump *p); /* newest run that is drained on every stream */
