#include "ipc/logread.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"

void logread_init(struct logread *l, int dirfd)
{
	*l = (struct logread){.dirfd = dirfd};
	for (int i = 0; i < LOG_STREAMS; i++)
		l->s[i] = (struct logread_stream){.raw = -1, .idx = -1, .wanted = true};
}

static void segment_close(struct logread_stream *s)
{
	fd_close(&s->raw);
	fd_close(&s->idx);
	s->entry = 0;
	s->have_now = s->have_next = false;
}

void logread_finish(struct logread *l)
{
	for (int i = 0; i < LOG_STREAMS; i++)
		segment_close(&l->s[i]);
}

void logread_seek(struct logread *l, const uint64_t at[LOG_STREAMS])
{
	for (int i = 0; i < LOG_STREAMS; i++) {
		segment_close(&l->s[i]);
		l->s[i].at = at[i];
		l->s[i].owed = l->s[i].rotated = 0;
		l->s[i].looked = false;
	}
}

static bool entry_read(const struct logread_stream *s, uint64_t n, struct log_index *ret)
{
	return s->idx >= 0 &&
	       pread(s->idx, ret, sizeof(*ret), (off_t)(n * sizeof(*ret))) == sizeof(*ret);
}

/* The first entry at s->at, or the last before it: a segment may have very many. */
static uint64_t entry_find(const struct logread_stream *s)
{
	struct log_index e;
	struct stat st;
	uint64_t low = 0, high;

	if (s->at == s->base || s->idx < 0 || fstat(s->idx, &st) < 0)
		return 0;
	high = (uint64_t)st.st_size / sizeof(e);
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (entry_read(s, middle, &e) && e.offset < s->at)
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 && !(entry_read(s, low, &e) && e.offset == s->at) ? low - 1 : low;
}

/* Opens the segment that s->at lies in, or the first one behind it. 1, 0 (none) or a fault. */
static int segment_open(struct logread *l, struct logread_stream *s, enum log_stream stream)
{
	struct log_segments list;
	char name[LOG_NAME_MAX];
	int r = log_segments_list(l->dirfd, stream, &list);
	size_t i = 0;

	if (r < 0)
		return r;
	if (list.len == 0) {
		s->looked = true;
		return 0;
	}
	while (i + 1 < list.len && list.base[i + 1] <= s->at)
		i++;
	if (s->raw >= 0 && list.base[i] == s->base)
		return 0;
	segment_close(s);
	log_segment_name(name, stream, list.base[i], "raw");
	s->raw = openat(l->dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (s->raw < 0)
		return errno == ENOENT ? 0 : fault(-errno, "open %s", name);
	log_segment_name(name, stream, list.base[i], "idx");
	s->idx = openat(l->dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	s->base = list.base[i];
	if (s->at < s->base) {
		s->rotated += s->looked ? s->base - s->at : 0;
		s->at = s->base;
	}
	s->looked = true;
	s->entry = entry_find(s);
	return 1;
}

/* `now` is another entry. What it says was dropped counts if we stand there; behind it, after a
 * seek, it was told. */
static void entry_reached(struct logread_stream *s)
{
	s->told = s->now.flags & LOG_INDEX_GAP ? s->now.dropped : 0;
	if (s->now.offset == s->at)
		s->owed += s->told;
}

/* now: the last entry at or before s->at; next: the one behind it. */
static void entries_sync(struct logread_stream *s)
{
	if (!s->have_now) {
		s->have_now = entry_read(s, s->entry, &s->now);
		s->have_next = false;
		if (s->have_now)
			entry_reached(s);
	}
	while (s->have_now) {
		if (!s->have_next)
			s->have_next = entry_read(s, s->entry + 1, &s->next);
		if (!s->have_next || s->next.offset > s->at)
			return;
		s->now = s->next;
		s->entry++;
		s->have_next = false;
		entry_reached(s);
	}
}

/* At the end of what is on disk: the newest entry may be one of bytes dropped here, and grow. */
static void gap_sync(struct logread_stream *s)
{
	struct log_index e;

	entries_sync(s);
	if (!s->have_now || s->now.offset != s->at || !entry_read(s, s->entry, &e) ||
		!(e.flags & LOG_INDEX_GAP) || e.dropped <= s->told)
		return;
	s->owed += e.dropped - s->told;
	s->told = e.dropped;
}

/* How many bytes of one time are there to read: 0 at the end, or a fault. */
static int64_t available(struct logread *l, struct logread_stream *s, enum log_stream stream)
{
	struct stat st;
	uint64_t end;
	int r;

	for (;;) {
		if (s->raw < 0) {
			r = segment_open(l, s, stream);
			if (r <= 0)
				return r;
		}
		if (fstat(s->raw, &st) < 0)
			return fault(-errno, "stat output");
		end = s->base + (uint64_t)st.st_size;
		if (s->at < end)
			break;
		gap_sync(s);
		r = segment_open(l, s, stream);
		if (r <= 0)
			return r;
	}
	entries_sync(s);
	if (s->have_next && s->next.offset < end)
		end = s->next.offset;
	return (int64_t)(end - s->at);
}

static uint64_t time_of(const struct logread_stream *s)
{
	return s->have_now ? s->now.boot_usec : 0;
}

static int piece_read(
	struct logread_stream *s, enum log_stream stream, size_t len, struct logread_piece *ret)
{
	ssize_t n = pread(s->raw, ret->bytes, len, (off_t)(s->at - s->base));

	if (n < 0)
		return fault(-errno, "read output");
	ret->stream = stream;
	ret->at = s->at;
	ret->len = (size_t)n;
	ret->dropped = s->owed;
	ret->rotated = s->rotated;
	s->owed = s->rotated = 0;
	memset(&ret->when, 0, sizeof(ret->when));
	if (s->have_now)
		ret->when = s->now;
	s->at += (size_t)n;
	return n > 0;
}

/* Nothing more to read: what was dropped at the very end is a piece without bytes. */
static int gap_read(struct logread *l, struct logread_piece *ret)
{
	for (int i = 0; i < LOG_STREAMS; i++) {
		struct logread_stream *s = &l->s[i];

		if (!s->owed)
			continue;
		ret->stream = (enum log_stream)i;
		ret->at = s->at;
		ret->when = s->now;
		ret->len = 0;
		ret->dropped = s->owed;
		ret->rotated = s->rotated;
		s->owed = s->rotated = 0;
		return 1;
	}
	return 0;
}

int logread_next(struct logread *l, struct logread_piece *ret)
{
	int64_t len[LOG_STREAMS], most = l->most ? (int64_t)l->most : LOGREAD_BYTES;
	int best = -1;

	for (int i = 0; i < LOG_STREAMS; i++) {
		len[i] = l->s[i].wanted ? available(l, &l->s[i], (enum log_stream)i) : 0;
		if (len[i] < 0)
			return (int)len[i];
		if (len[i] > 0 && (best < 0 || time_of(&l->s[i]) < time_of(&l->s[best])))
			best = i;
	}
	if (best < 0)
		return gap_read(l, ret);
	return piece_read(&l->s[best], (enum log_stream)best,
		(size_t)(len[best] < most ? len[best] : most), ret);
}
