/* Reads a container's two output streams as one: pieces in the order in which they came, which the
 * index beside each segment knows. Also where the container still writes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/logfile.h"

#define LOGREAD_BYTES 65536

struct logread_stream {
	int raw, idx; /* of the current segment, -1: none */
	bool wanted;
	uint64_t base;
	uint64_t at;	/* stream offset of the next byte */
	uint64_t entry; /* number of the index entry that `at` lies in */
	struct log_index now, next;
	bool have_now, have_next;
	uint64_t told;	  /* dropped bytes of `now` that are in owed or were told */
	uint64_t owed;	  /* dropped bytes before `at` that are still to be told */
	bool looked;	  /* from here on what is jumped over was there to be read */
	uint64_t rotated; /* such bytes, still to be told */
};

struct logread {
	int dirfd;   /* not owned */
	size_t most; /* bytes of a piece, 0: LOGREAD_BYTES */
	struct logread_stream s[LOG_STREAMS];
};

struct logread_piece {
	enum log_stream stream;
	struct log_index when; /* zero when the index does not know */
	uint64_t at;	       /* stream offset of the first byte */
	uint64_t dropped;      /* bytes that are missing before it */
	uint64_t rotated;      /* bytes before it that rotation took before they were read */
	size_t len;	       /* 0: nothing follows what is missing, so far */
	char bytes[LOGREAD_BYTES];
};

void logread_init(struct logread *l, int dirfd);
void logread_finish(struct logread *l);

/* Goes to a place that pieces told of: the offsets of both streams. */
void logread_seek(struct logread *l, const uint64_t at[LOG_STREAMS]);

/* 1: the next piece, 0: at the end of what is on disk, or a fault. A piece is of one time. */
int logread_next(struct logread *l, struct logread_piece *ret);
