/* A container's output on disk: per stream (stdout, stderr) a row of segments in its log directory,
 *
 *     stdout-00000000000000000000.raw   the bytes, nothing else; written only by splice
 *     stdout-00000000000000000000.idx   when they came: an array of struct log_index
 *
 * The number is the stream offset of the segment's first byte, so a position in the stream is the
 * segment's number plus the position in the file, for ever. Old segments are removed as a whole. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define LOG_NAME_MAX	 40
#define LOG_SEGMENTS_MAX 64

enum log_stream { LOG_STDOUT, LOG_STDERR, LOG_STREAMS };

#define LOG_INDEX_GAP 1u /* `dropped` bytes of the service are missing before `offset` */
#define LOG_INDEX_RUN 2u /* first entry of a run */

struct log_index {
	uint64_t offset; /* stream offset: the bytes from here on came at this time */
	uint64_t boot_usec, real_usec;
	uint32_t run;
	uint32_t flags; /* LOG_INDEX_* */
	uint64_t dropped;
};

struct log_segments {
	size_t len;
	uint64_t base[LOG_SEGMENTS_MAX]; /* ascending */
};

const char *log_stream_name(enum log_stream s);

/* "stdout-00000000000000001234.raw" (suffix "raw" or "idx"). */
void log_segment_name(char ret[LOG_NAME_MAX], enum log_stream s, uint64_t base, const char *suffix);

/* The stream's segments in a log directory, ascending; none is fine. 0 or a fault. */
int log_segments_list(int dirfd, enum log_stream s, struct log_segments *ret);

/* Stream offset behind the last byte on disk (0 when there is no segment), or a fault. */
int64_t log_stream_end(int dirfd, enum log_stream s);
