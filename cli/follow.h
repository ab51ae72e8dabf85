/* Follows one output stream of a container: copies the raw segments, from an offset on, to a
 * descriptor, without ever blocking on it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/logfile.h"

/* So long after a container's end its last output may take to arrive. */
#define FOLLOW_DRAIN_MS 12000

struct follow {
	int dirfd; /* log directory; not owned */
	enum log_stream stream;
	int out;      /* not owned */
	bool patient; /* out may be full: ask before writing */
	bool deaf;    /* out is gone: bytes are passed over */
	int err;      /* why: errno, 0: it is not */
	int fd;	      /* current segment, -1: none yet */
	uint64_t base, at;
	uint64_t lost; /* bytes that rotation took before they were read */
};

enum follow_outcome {
	FOLLOW_IDLE, /* at the end of what is on disk */
	FOLLOW_FULL, /* out does not take more now */
};

void follow_init(struct follow *f, int dirfd, enum log_stream stream, int out);
void follow_finish(struct follow *f);

/* Copies what there is: an outcome or a fault. */
int follow_pump(struct follow *f);

/* An inotify fd that becomes readable when a stream in the log directory has grown, or a fault. */
int follow_watch(int dirfd);

/* The same in two steps: a descriptor that nothing is watched with yet, and the beginning. Closing
 * it is costly only once it has begun: the kernel waits for a grace period (12 ms, measured). */
int follow_watch_open(void);
int follow_watch_begin(int watch, int dirfd);

/* Reads the watch empty. */
void follow_drain(int watch);

/* How long to wait for the watch, ms: for ever where the kernel tells of spliced writes (6.6), else
 * a short time (the index, written beside, is told of only now and then). */
int follow_patience(void);
