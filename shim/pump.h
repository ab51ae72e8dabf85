/* The pump: a thread that moves the service's output into the log and does nothing else, since a
 * splice into a file can block for seconds while the kernel throttles writers. Each run has a fresh
 * pair of pipes; they are drained in the order of the runs. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "ipc/base/loop.h"
#include "shim/sink.h"

#define PUMP_RUNS_MAX 16 /* undrained pipes per stream; init keeps at most 4 */

struct pump_run {
	uint32_t run;  /* the newest that writes to it */
	uint32_t key;  /* the run whose pipe it was made for: the name under which it is held */
	uint64_t pipe; /* inode: which pipe it is; set by pump_add */
	int fd;	       /* read end of the pipe (or of the terminal's); owned by the pump */
	int tty;       /* terminal master that feeds the pipe, -1: none; owned */
	int tty_in;    /* the pipe's write end, for the terminal; owned */
	bool dead;     /* nobody of that run is alive: empty means drained */
};

struct pump_stream {
	struct sink sink;
	struct pump_run runs[PUMP_RUNS_MAX];
	unsigned len;
	uint32_t freed[PUMP_RUNS_MAX]; /* keys of drained pipes, until the owner takes them */
	unsigned freed_len;
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

/* Opens the logs and starts the thread, paused. 0 or a fault. */
int pump_start(struct pump *p, struct loop *loop, int log_dirfd, const struct settings *settings,
	void (*changed)(struct pump *p, void *ctx), void *ctx);

/* Stops the thread after the splice under way; every descriptor stays open (for a successor). */
void pump_halt(struct pump *p);

/* The same, and closes everything. */
void pump_finish(struct pump *p);

enum pump_added {
	PUMP_ADDED,
	PUMP_KNOWN, /* the same pipe is here already: it goes on as this run's */
	PUMP_OLD,   /* this run's output is drained, or its pipe is here already */
	PUMP_FULL,  /* PUMP_RUNS_MAX are undrained or not taken back by pump_freed() */
};

/* Takes over the descriptors; unless they were added they are closed. */
enum pump_added pump_add(struct pump *p, enum log_stream s, struct pump_run run);

/* Is this pipe here already? Then it is also the run's from now on, if that is a newer one. */
bool pump_known(struct pump *p, enum log_stream s, int fd, uint32_t run);

/* Takes the keys of pipes that were drained and closed since the last call: how many. */
unsigned pump_freed(struct pump *p, enum log_stream s, uint32_t keys[PUMP_RUNS_MAX]);

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
