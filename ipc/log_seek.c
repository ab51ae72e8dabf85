#include "ipc/log_seek.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/mem.h"
#include "ipc/logread.h"

#define CHUNK (64u << 10)

static int segment(int dirfd, enum log_stream s, uint64_t base, const char *suffix)
{
	char name[LOG_NAME_MAX];

	log_segment_name(name, s, base, suffix);
	return openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

/* By time -------------------------------------------------------------------------------------- */

static bool entry_at(int fd, uint64_t n, struct log_index *ret)
{
	return pread(fd, ret, sizeof(*ret), (off_t)(n * sizeof(*ret))) == sizeof(*ret);
}

/* The offset of the index's first entry of this time or later; false: all are older. */
static bool first_since(int fd, uint64_t real_usec, uint64_t *ret)
{
	struct log_index e;
	struct stat st;
	uint64_t low = 0, high;

	if (fd < 0 || fstat(fd, &st) < 0)
		return false;
	high = (uint64_t)st.st_size / sizeof(e);
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (entry_at(fd, middle, &e) && e.real_usec < real_usec)
			low = middle + 1;
		else
			high = middle;
	}
	if (!entry_at(fd, low, &e))
		return false;
	*ret = e.offset;
	return true;
}

int log_seek_time(int dirfd, uint64_t real_usec, uint64_t at[LOG_STREAMS])
{
	for (int i = 0; i < LOG_STREAMS; i++) {
		enum log_stream s = (enum log_stream)i;
		struct log_segments list;
		int r = log_segments_list(dirfd, s, &list);
		int64_t end = r < 0 ? r : log_stream_end(dirfd, s);
		uint64_t found = (uint64_t)end;

		if (end < 0)
			return (int)end;
		for (size_t k = 0; k < list.len; k++) {
			auto_fd idx = segment(dirfd, s, list.base[k], "idx");

			if (first_since(idx, real_usec, &found))
				break;
		}
		at[i] = found > at[i] ? found : at[i];
	}
	return 0;
}

/* By lines ------------------------------------------------------------------------------------- */

/* Where the last `lines` of one stream begin, by what lies between `from` and its end. */
struct backward {
	uint64_t lines; /* still to be found */
	bool first;	/* the newest byte was not seen yet */
	uint64_t at;
};

/* true: found. */
static bool look_back(struct backward *b, const char *p, size_t len, uint64_t base)
{
	while (len-- > 0) {
		bool ends_last = b->first;

		b->first = false;
		if (p[len] == '\n' && !ends_last && --b->lines == 0) {
			b->at = base + len + 1;
			return true;
		}
		b->at = base + len;
	}
	return false;
}

static int segment_back(
	int dirfd, enum log_stream s, uint64_t base, uint64_t from, struct backward *b, char *buf)
{
	auto_fd fd = segment(dirfd, s, base, "raw");
	uint64_t end = b->at, least = from > base ? from : base;

	if (fd < 0)
		return errno == ENOENT ? 1 : fault(-errno, "open output");
	while (end > least) {
		size_t want = end - least < CHUNK ? (size_t)(end - least) : CHUNK;
		ssize_t n = pread(fd, buf, want, (off_t)(end - want - base));

		if (n < 0)
			return fault(-errno, "read output");
		if (look_back(b, buf, (size_t)n, end - want))
			return 1;
		end -= want;
	}
	return 0;
}

static int stream_back(int dirfd, enum log_stream s, uint64_t lines, uint64_t from, uint64_t *ret)
{
	auto_free char *buf = malloc(CHUNK);
	struct log_segments list;
	int r = log_segments_list(dirfd, s, &list);
	int64_t end = r < 0 ? r : log_stream_end(dirfd, s);
	struct backward b = {.lines = lines, .first = true, .at = (uint64_t)end};

	if (!buf)
		return fault(-ENOMEM, "read output");
	if (end < 0)
		return (int)end;
	for (size_t k = list.len; r == 0 && lines && k-- > 0 && b.at > from;)
		r = segment_back(dirfd, s, list.base[k], from, &b, buf);
	*ret = b.at > from ? b.at : from;
	return r < 0 ? r : 0;
}

struct mark {
	uint64_t at[LOG_STREAMS];
};

/* Every line's start goes round in a ring, as the pair of offsets at which the merge stood. */
static int merge(struct logread *reader, struct mark *ring, uint64_t n, struct mark *now)
{
	auto_free struct logread_piece *p = malloc(sizeof(*p));
	bool mid[LOG_STREAMS] = {false};
	uint64_t lines = 0;
	int r;

	if (!p)
		return fault(-ENOMEM, "read output");
	while ((r = logread_next(reader, p)) > 0) {
		now->at[p->stream] = p->at;
		for (size_t i = 0; i < p->len; i++, now->at[p->stream]++) {
			if (!mid[p->stream] && n)
				ring[lines++ % n] = *now;
			mid[p->stream] = p->bytes[i] != '\n';
		}
	}
	if (lines > 0 && n > 0)
		*now = lines < n ? ring[0] : ring[lines % n];
	return r;
}

int log_seek_lines(int dirfd, const bool wanted[LOG_STREAMS], uint64_t lines, uint64_t max_bytes,
	uint64_t at[LOG_STREAMS])
{
	auto_free struct mark *ring = calloc(lines + 1, sizeof(*ring));
	struct mark now = {0};
	struct logread reader;
	int r = ring ? 0 : fault(-ENOMEM, "the last %llu lines", (unsigned long long)lines);

	for (int i = 0; r == 0 && i < LOG_STREAMS; i++) {
		int64_t end = log_stream_end(dirfd, (enum log_stream)i);
		uint64_t from =
			end > 0 && (uint64_t)end > max_bytes ? (uint64_t)end - max_bytes : 0;

		from = from > at[i] ? from : at[i];
		r = end < 0 ? (int)end
			    : stream_back(dirfd, (enum log_stream)i, lines, from, &now.at[i]);
	}
	if (r < 0)
		return r;
	logread_init(&reader, dirfd);
	for (int i = 0; i < LOG_STREAMS; i++)
		reader.s[i].wanted = wanted[i];
	logread_seek(&reader, now.at);
	r = merge(&reader, ring, lines, &now);
	logread_finish(&reader);
	memcpy(at, now.at, sizeof(now.at));
	return r;
}
