/* The pump: a thread that moves the service's output into the log and does nothing else, since a
 * splice into a file can block for seconds while the kernel throttles writers. Each run has a fresh
 * pair of pipes; they are drained in the order of the runs. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ipc/base/loop.h"
#include "ipc/shared.h"
#include "shim/pace.h"
#include "shim/sink.h"

#define PUMP_RUNS_MAX 16 /* undrained pipes per stream; init keeps at most 4 */

struct pump_run {
	uint32_t run;  /* the newest that writes to it */
	uint32_t key;  /* the run whose pipe it was made for: the name under which it is held */
	uint64_t pipe; /* inode: which pipe it is; set by pump_add, as its size is */
	int size;      /* bytes that it holds */
	int fd;	       /* read end of the pipe (or of the terminal's); owned by the pump */
	int tty;       /* terminal master that feeds the pipe, -1: none; owned */
	int tty_in;    /* the pipe's write end, for the terminal; owned */
	bool dead;     /* nobody of that run is alive: empty means drained */
};

/* What init kept in memory while nobody supervised: goes first, and its progress stands where init
 * and a successor see it. */
struct pump_spool {
	int fd; /* -1: none; owned */
	uint64_t at, len;
	uint32_t run; /* the first whose bytes may be in it */
	struct spool_state *state;
};

/* The owner may hear of a run's end after several later ones have been drained. */
#define PUMP_ENDS 32

struct pump_stream {
	struct sink sink;
	struct pump_spool spool;
	struct pump_run runs[PUMP_RUNS_MAX];
	unsigned len;
	uint32_t freed[PUMP_RUNS_MAX]; /* keys of drained pipes, until the owner takes them */
	unsigned freed_len;
	uint64_t offset;  /* the sink's, for other threads */
	struct pace pace; /* the thread's own */
	bool busy;	  /* a splice is under way: offset and pipe do not add up */
	uint64_t dropped; /* bytes, since the owner looked last */
	int err;	  /* why they were dropped */
	uint32_t drained; /* newest run that is drained */
	struct {
		uint32_t run;
		uint64_t end;
	} ended[PUMP_ENDS]; /* where the output of the newest drained ones ends, by run */
};

struct pump {
	pthread_t thread;
	bool running;
	bool stop;
	bool paused;
	bool block_when_full;
	pthread_mutex_t lock; /* everything in streams but the sinks and the descriptors' content */
	struct pump_stream streams[LOG_STREAMS];
	uint64_t tell_at; /* moved so much, the owner wants to know; 0: it does not */
	bool told;
	int wake;	       /* eventfd, to the thread */
	struct loop_io notice; /* eventfd, from the thread */
	void (*changed)(
		struct pump *p, void *ctx); /* on the loop: a run was drained, bytes dropped */
	void (*grown)(void *ctx);	    /* pump_tell() */
	void *ctx;
	/* without the lock, by atomic access alone */
	bool tell;		     /* the loop wants to hear of the next bytes */
	bool has_changed, has_grown; /* what the notice is about */
};

/* Opens the logs and starts the thread, paused. 0 or a fault. */
int pump_start(struct pump *p, struct loop *loop, int log_dirfd, const struct settings *settings,
	void (*changed)(struct pump *p, void *ctx), void *ctx);

/* The thread runs where the container may: to move what it writes costs no neighbour that was given
 * other CPUs. pid1: on the host; the service may bind itself to fewer, and its pid may be another's
 * by now. */
void pump_run_beside(struct pump *p, pid_t pid1);

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

/* Before anything was moved. Takes over fd; state is init's, and hostile. */
void pump_spool(struct pump *p, enum log_stream s, int fd, struct spool_state *state, uint32_t run);
/* The file that is not in the log yet, -1: none. */
int pump_spooling(struct pump *p, enum log_stream s);

/* Takes the keys of pipes that were drained and closed since the last call: how many. */
unsigned pump_freed(struct pump *p, enum log_stream s, uint32_t keys[PUMP_RUNS_MAX]);

/* Paused, nothing is moved: runs that arrive in any order are then drained in theirs. */
void pump_pause(struct pump *p, bool paused);

/* Everybody who could still write to runs up to this one is dead. */
void pump_run_dead(struct pump *p, uint32_t run);

/* Stream offset at which the output of `run` ends, now that nobody writes to it any more. *exact is
 * false when it is an estimate: a splice is under way, or its pipe is none that is known here. */
uint64_t pump_run_end(struct pump *p, enum log_stream s, uint32_t run, bool *exact);

/* Calls grown, once, when more bytes have moved than a reader sees who looks after this call. */
void pump_tell(struct pump *p, void (*grown)(void *ctx));
/* Bytes that all streams have got so far. */
uint64_t pump_moved(struct pump *p);
/* When so many more were moved, changed() is called once, and pump_told() says so. 0: not. */
void pump_watch(struct pump *p, uint64_t bytes);
bool pump_told(struct pump *p);

/* All runs are drained. */
bool pump_idle(struct pump *p);
uint32_t pump_drained(struct pump *p); /* newest run that is drained on every stream */
