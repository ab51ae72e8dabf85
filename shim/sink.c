#include "shim/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"

#define SPLICE_MAX	(1u << 20)
#define INDEX_EVERY	(10 * USEC_PER_MSEC)
#define INDEX_STEP	4096
#define INDEX_BYTES_MAX (2u << 20) /* a drip of bytes grows the index faster than the log */

static int open_file(struct sink *s, uint64_t base, const char *suffix)
{
	char name[LOG_NAME_MAX];
	int fd;

	log_segment_name(name, s->stream, base, suffix);
	fd = openat(s->dirfd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? fault(-errno, "open log %s", name) : fd;
}

/* Blocks for the next entries, while there are any: what is dropped later, because there are none
 * left, can then still be said. Some file systems can't; entries are written without, then. */
static int reserve(int idx, uint64_t *room)
{
	if (fallocate(idx, FALLOC_FL_KEEP_SIZE, (off_t)*room, INDEX_STEP) < 0 &&
		errno != EOPNOTSUPP)
		return -errno;
	*room += INDEX_STEP;
	return 0;
}

static int open_segment(struct sink *s, uint64_t base)
{
	uint64_t room = 0;
	int raw, idx;

	idx = open_file(s, base, "idx"); /* first: readers find a segment by its raw file */
	if (idx < 0)
		return idx;
	raw = open_file(s, base, "raw");
	if (raw < 0) {
		close(idx);
		return raw;
	}
	if (s->raw >= 0 && reserve(idx, &room) < 0) {
		close(raw);
		close(idx);
		return -ENOSPC; /* nothing could be said of what is dropped there */
	}
	sink_close(s);
	s->base = base;	   /* only now: a rotation that fails goes on in the old segment */
	s->indexed_at = 0; /* its first bytes have a time of their own */
	s->raw = raw;
	s->idx = idx;
	/* a torn entry, should there be one, is overwritten */
	s->idx_size = (uint64_t)lseek(idx, 0, SEEK_END) / sizeof(struct log_index) *
		      sizeof(struct log_index);
	s->idx_room = s->idx_size;
	reserve(s->idx, &s->idx_room);
	s->gap_written = false;
	return 0;
}

int sink_open(
	struct sink *s, int log_dirfd, enum log_stream stream, const struct settings *settings)
{
	struct log_segments list;
	int r;

	*s = (struct sink){
		.dirfd = log_dirfd,
		.stream = stream,
		.max_bytes = settings->log_max_bytes,
		.max_files = settings->log_max_files,
		.raw = -1,
		.idx = -1,
	};
	if (s->max_bytes < 4096)
		s->max_bytes = 4096;
	if (s->max_files < 1)
		s->max_files = 1;
	if (s->max_files > LOG_SEGMENTS_MAX - 1)
		s->max_files = LOG_SEGMENTS_MAX - 1;
	r = log_segments_list(log_dirfd, stream, &list);
	if (r < 0 || list.len == 0)
		return r;
	r = open_segment(s, list.base[list.len - 1]);
	if (r < 0)
		return r;
	s->offset = s->base + (uint64_t)lseek(s->raw, 0, SEEK_END);
	return 0;
}

void sink_close(struct sink *s)
{
	fd_close(&s->raw);
	fd_close(&s->idx);
}

static void remove_segment(struct sink *s, uint64_t base)
{
	char name[LOG_NAME_MAX];

	log_segment_name(name, s->stream, base, "raw");
	unlinkat(s->dirfd, name, 0);
	log_segment_name(name, s->stream, base, "idx");
	unlinkat(s->dirfd, name, 0);
}

/* Begins a new segment when the open one is full. If the disk refuses a new file the old one grows
 * on: a bound is missed rather than a byte lost. */
static void rotate(struct sink *s)
{
	struct log_segments list;

	if (s->offset - s->base < s->max_bytes &&
		(s->idx_size < INDEX_BYTES_MAX || s->offset == s->base))
		return;
	if (open_segment(s, s->offset) < 0) {
		remove_segment(s, s->offset); /* readers would go on in what stands there empty */
		return;
	}
	if (log_segments_list(s->dirfd, s->stream, &list) < 0)
		return;
	for (size_t i = 0; list.len - i > s->max_files; i++)
		remove_segment(s, list.base[i]);
}

/* Times are a service to people: a full disk costs them, not the bytes. The last entry that there
 * is room for is kept for a gap. */
static void write_index(struct sink *s, struct log_index e)
{
	e.boot_usec = now_boot();
	e.real_usec = now_real();
	s->indexed_at = e.boot_usec;
	s->indexed_run = e.run;
	if (s->idx_size + 2 * sizeof(e) > s->idx_room)
		reserve(s->idx, &s->idx_room);
	if (s->idx_size + 2 * sizeof(e) > s->idx_room)
		return;
	if (pwrite(s->idx, &e, sizeof(e), (off_t)s->idx_size) == sizeof(e))
		s->idx_size += sizeof(e);
}

/* One entry for all that is dropped at one place: written over as it grows. */
static void write_gap(struct sink *s)
{
	const struct log_index e = s->gap;

	if (s->idx < 0) /* told when there is a file: before the first byte in it */
		return;
	if (!s->gap_written)
		s->gap_at = s->idx_size;
	if (pwrite(s->idx, &e, sizeof(e), (off_t)s->gap_at) != sizeof(e))
		return;
	if (!s->gap_written)
		s->idx_size += sizeof(e);
	s->gap_written = true;
}

/* Bytes come again behind it. */
static void end_gap(struct sink *s)
{
	if (!s->gap.dropped)
		return;
	if (!s->gap_written)
		write_gap(s);
	s->gap = (struct log_index){0};
	s->gap_written = false;
}

/* A segment ends at its size; only one that can't be followed by another grows on. */
static size_t room(const struct sink *s)
{
	uint64_t len = s->offset - s->base;

	return len >= s->max_bytes || s->max_bytes - len > SPLICE_MAX ? SPLICE_MAX
								      : s->max_bytes - len;
}

/* The first segment is made when there is something to put in: many a service writes nothing, and
 * files cost more than the rest of a short life. 0: it is open. */
static int first_segment(struct sink *s, int pipe, int64_t *ret)
{
	struct pollfd p = {.fd = pipe, .events = POLLIN};
	int r;

	if (s->raw >= 0)
		return 0;
	r = poll(&p, 1, 0);
	*ret = r > 0 && !(p.revents & POLLIN) ? 0 : -EAGAIN;
	if (r <= 0 || !(p.revents & POLLIN))
		return -EAGAIN;
	r = open_segment(s, s->base);
	*ret = r;
	return r;
}

/* file_at NULL: from a pipe. What a copy of a file to the log takes is a position, not an offset.
 */
static ssize_t move(struct sink *s, int fd, off_t *file_at, size_t len)
{
	loff_t at = (loff_t)(s->offset - s->base);

	if (!file_at)
		return splice(fd, NULL, s->raw, &at, len, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
	return lseek(s->raw, at, SEEK_SET) < 0 ? -1 : sendfile(s->raw, fd, file_at, len);
}

static int64_t take(struct sink *s, int fd, off_t *file_at, size_t len, uint32_t run)
{
	uint64_t from = s->offset;
	int64_t none;
	ssize_t n;

	if (first_segment(s, fd, &none) < 0)
		return none;
	rotate(s);
	n = move(s, fd, file_at, len < room(s) ? len : room(s));
	if (n < 0)
		return -errno;
	if (n > 0)
		end_gap(s);
	s->offset += (uint64_t)n;
	if (n > 0 && (run != s->indexed_run || now_boot() - s->indexed_at >= INDEX_EVERY))
		write_index(s, (struct log_index){
				       .offset = from,
				       .run = run,
				       .flags = run != s->indexed_run ? LOG_INDEX_RUN : 0,
			       });
	return n;
}

int64_t sink_splice(struct sink *s, int pipe, uint32_t run)
{
	return take(s, pipe, NULL, SPLICE_MAX, run);
}

int64_t sink_copy(struct sink *s, int file, uint64_t at, size_t len, uint32_t run)
{
	off_t from = (off_t)at;

	return take(s, file, &from, len, run);
}

void sink_gap(struct sink *s, uint64_t bytes, uint32_t run)
{
	s->gap = (struct log_index){
		.offset = s->offset,
		.boot_usec = now_boot(),
		.real_usec = now_real(),
		.run = run,
		.flags = LOG_INDEX_GAP,
		.dropped = s->gap.dropped + bytes,
	};
	write_gap(s);
}
