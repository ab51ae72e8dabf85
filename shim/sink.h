/* Where one output stream goes: its row of segments on disk (format: ipc/logfile.h). Used by the
 * pump thread alone; allocates nothing after open. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/logfile.h"
#include "ipc/settings.h"

struct sink {
	int dirfd; /* not owned */
	enum log_stream stream;
	uint64_t max_bytes;
	uint32_t max_files;
	int raw, idx;	 /* -1: no byte has come yet */
	uint64_t base;	 /* stream offset of the open segment's first byte */
	uint64_t offset; /* stream offset of the next byte */
	uint64_t idx_size;
	uint64_t idx_room;   /* the index may grow up to here, however full the disk is */
	uint64_t indexed_at; /* boottime of the newest entry */
	uint32_t indexed_run;
	struct log_index gap; /* bytes dropped at the offset where we stand; dropped 0: none */
	uint64_t gap_at;      /* its place in the index */
	bool gap_written;
};

/* Continues behind the last byte on disk; where there is none, the first byte will make the first
 * segment. 0 or a fault. */
int sink_open(
	struct sink *s, int log_dirfd, enum log_stream stream, const struct settings *settings);
void sink_close(struct sink *s);

/* Moves what `pipe` holds, at most a megabyte, into the segment at its offset: bytes moved, 0 at
 * the pipe's end, -EAGAIN when it is empty, or -errno of the file (-ENOSPC, -EIO, -EDQUOT). Exactly
 * once over a SIGKILL: the bytes are in the pipe or in the file. */
int64_t sink_splice(struct sink *s, int pipe, uint32_t run);

/* The same out of a file, at most len bytes from `at` on: it is left as it is. */
int64_t sink_copy(struct sink *s, int file, uint64_t at, size_t len, uint32_t run);

/* Notes in the index that `bytes` were dropped here. */
void sink_gap(struct sink *s, uint64_t bytes, uint32_t run);
