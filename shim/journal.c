#include "shim/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"
#include "ipc/base/log.h"
#include "ipc/base/mem.h"
#include "ipc/base/parse.h"
#include "ipc/journal_reader.h"

#define JOURNAL_BYTES	  (8u << 20)
#define JOURNAL_BYTES_MIN (1u << 20)
#define JOURNAL_TAIL	  (256u << 10) /* kept by compaction as it is */
#define EXITS_KEPT	  100u	       /* kept by compaction, however far back they are */
#define RESERVE		  (16u << 10)  /* disk that is ours before we need it */
#define RECORD_BUF	  (sizeof(struct record) + RECORD_BODY_MAX + 8)

static void make_head(struct journal_head *h, const char *id, const char *boot, uint64_t seq_first)
{
	*h = (struct journal_head){
		.magic = JOURNAL_MAGIC,
		.version = JOURNAL_VERSION,
		.size = sizeof(*h),
		.seq_first = seq_first,
	};
	snprintf(h->id, sizeof(h->id), "%s", id);
	snprintf(h->boot_id, sizeof(h->boot_id), "%s", boot);
}

static int create(struct journal *j, const char *id)
{
	struct journal_head head;
	int r = boot_id(j->now.boot_id);

	if (r < 0)
		return r;
	make_head(&head, id, j->now.boot_id, 1);
	r = file_replace(j->dirfd, "journal", &head, sizeof(head), 0600);
	j->end = sizeof(head);
	return r < 0 ? r : 1;
}

static uint64_t bound(void)
{
	const char *text = getenv("HOLDFAST_JOURNAL_SIZE");
	uint64_t bytes = JOURNAL_BYTES;

	if (text && (parse_size("HOLDFAST_JOURNAL_SIZE", text, &bytes) < 0 ||
			    bytes < JOURNAL_BYTES_MIN)) {
		log_warn("HOLDFAST_JOURNAL_SIZE \"%s\": not a size from 1M on (8M is used)", text);
		bytes = JOURNAL_BYTES;
	}
	return bytes;
}

int journal_open(struct journal *j, int state_dirfd, const char *id)
{
	int r, fresh = 0;

	memset(j, 0, sizeof(*j));
	j->fd = -1;
	j->max = bound();
	j->dirfd = state_dirfd;
	r = history_read(state_dirfd, &j->now, &j->end);
	if (r == -ENOENT)
		r = fresh = create(j, id);
	if (r < 0)
		return r;
	j->fd = openat(state_dirfd, "journal", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (j->fd < 0)
		return fault(-errno, "open journal");
	if (ftruncate(j->fd, (off_t)j->end) < 0)
		return fault(-errno, "cut the journal's torn tail");
	return fresh;
}

int journal_rebase(struct journal *j, const char *boot)
{
	struct journal_head head;

	if (pread(j->fd, &head, sizeof(head), 0) != sizeof(head))
		return fault(-EIO, "read the journal's head");
	snprintf(head.boot_id, sizeof(head.boot_id), "%s", boot);
	if (pwrite(j->fd, &head, sizeof(head), 0) != sizeof(head))
		return fault(errno ? -errno : -EIO, "write the journal's head");
	snprintf(j->now.boot_id, sizeof(j->now.boot_id), "%s", boot);
	return 0;
}

/* Compaction: the newest records, the newest exits before them, and behind all a snapshot, as a new
 * file. What is left out in between is a gap that says so. Readers that fold it end at the same
 * state; a crash in between leaves the old file. */
struct kept {
	uint64_t at, seq;
	uint32_t len;
};

struct compaction {
	struct kept exits[EXITS_KEPT]; /* a ring, of those before the tail */
	size_t exits_seen, tail_exits;
	uint64_t tail_at, tail_seq; /* the first record that is kept as it is */
};

static bool is_exit(uint8_t type)
{
	return type == RECORD_EXITED || type == RECORD_EXIT_GAP;
}

static int plan_compaction(const struct journal *j, struct compaction *p)
{
	uint64_t tail_from = j->end > JOURNAL_TAIL ? j->end - JOURNAL_TAIL : 0, missed;
	struct journal_reader reader;
	const struct record *rec;
	int r = journal_reader_open(&reader, j->dirfd, 0);

	*p = (struct compaction){.tail_at = j->end, .tail_seq = j->now.seq + 1};
	if (r < 0)
		return r;
	while ((r = journal_reader_next(&reader, &rec, &missed)) > 0) {
		uint64_t at = r == JOURNAL_RECORD ? reader.at - rec->len : 0;

		if (r != JOURNAL_RECORD)
			continue;
		if (at >= tail_from && p->tail_at == j->end) {
			p->tail_at = at;
			p->tail_seq = rec->seq;
		}
		if (!is_exit(rec->type))
			continue;
		if (p->tail_at != j->end)
			p->tail_exits++;
		else
			p->exits[p->exits_seen++ % EXITS_KEPT] =
				(struct kept){.at = at, .seq = rec->seq, .len = rec->len};
	}
	journal_reader_finish(&reader);
	return r;
}

static int copy(const struct journal *j, int fd, uint64_t at, uint64_t len, uint64_t *end)
{
	char buf[4096];

	while (len > 0) {
		size_t want = len < sizeof(buf) ? (size_t)len : sizeof(buf);
		int r;

		if (pread(j->fd, buf, want, (off_t)at) != (ssize_t)want)
			return -EIO;
		r = write_all(fd, buf, want);
		if (r < 0)
			return r;
		at += want;
		len -= want;
		*end += want;
	}
	return 0;
}

static int write_record(const struct journal *j, int fd, struct record head, const void *body,
	size_t len, uint64_t *end)
{
	char buf[RECORD_BUF] __attribute__((aligned(8)));
	size_t n;

	head.boot_usec = now_boot();
	head.real_usec = now_real();
	head.run = j->now.run;
	n = record_encode(buf, head, body, len);
	if (n == 0)
		return -EMSGSIZE;
	*end += n;
	return write_all(fd, buf, n);
}

/* A gap up to the record before `seq`, if there is one. */
static int write_gap(const struct journal *j, int fd, uint64_t *expect, uint64_t seq, uint64_t *end)
{
	const struct record head = {.type = RECORD_GAP, .seq = seq - 1};
	int r = seq > *expect ? write_record(j, fd, head, NULL, 0, end) : 0;

	*expect = seq;
	return r;
}

static int write_kept(const struct journal *j, int fd, const struct compaction *p, uint64_t *end)
{
	size_t want = p->tail_exits < EXITS_KEPT ? EXITS_KEPT - p->tail_exits : 0;
	size_t n = p->exits_seen < want ? p->exits_seen : want;
	uint64_t expect = 0;
	int r = 0;

	for (size_t i = p->exits_seen - n; r == 0 && i < p->exits_seen; i++) {
		const struct kept *k = &p->exits[i % EXITS_KEPT];

		r = expect ? write_gap(j, fd, &expect, k->seq, end) : 0;
		if (r == 0)
			r = copy(j, fd, k->at, k->len, end);
		expect = k->seq + 1;
	}
	if (r == 0 && expect)
		r = write_gap(j, fd, &expect, p->tail_seq, end);
	return r;
}

static uint64_t first_kept(const struct compaction *p)
{
	size_t want = p->tail_exits < EXITS_KEPT ? EXITS_KEPT - p->tail_exits : 0;
	size_t n = p->exits_seen < want ? p->exits_seen : want;

	return n ? p->exits[(p->exits_seen - n) % EXITS_KEPT].seq : p->tail_seq;
}

static int write_compacted(struct journal *j, int fd, uint64_t *end)
{
	const struct record head = {.type = RECORD_SNAPSHOT, .seq = j->now.seq + 1};
	struct journal_head jh, old;
	struct compaction p;
	int r;

	if (pread(j->fd, &old, sizeof(old), 0) != sizeof(old))
		return -EIO;
	r = plan_compaction(j, &p);
	if (r < 0)
		return r;
	old.id[sizeof(old.id) - 1] = '\0';
	make_head(&jh, old.id, j->now.boot_id, first_kept(&p));
	*end = sizeof(jh);
	r = write_all(fd, &jh, sizeof(jh));
	if (r == 0)
		r = write_kept(j, fd, &p, end);
	if (r == 0)
		r = copy(j, fd, p.tail_at, j->end - p.tail_at, end);
	if (r == 0)
		r = write_record(j, fd, head, &j->now, sizeof(j->now), end);
	return r;
}

static void compact(struct journal *j)
{
	auto_fd fd = openat(
		j->dirfd, "journal.new", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	uint64_t end = 0;
	int r = fd < 0 ? -errno : write_compacted(j, fd, &end);

	if (r == 0 && renameat(j->dirfd, "journal.new", j->dirfd, "journal") < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(j->dirfd, "journal.new", 0);
		log_warn("journal: can't be compacted: %s", strerror(-r));
		j->max = j->end + JOURNAL_TAIL; /* tried again then, not at each record */
		return;
	}
	close(j->fd);
	j->fd = fd_take(&fd);
	j->end = end;
	j->reserved = 0;
	j->now.seq++;
	j->file++;
	j->marks_len = 0;
}

/* What does not change what the container is: the first to be left out on a full disk. */
static bool is_note(uint8_t type)
{
	return type == RECORD_OOM || type == RECORD_OUTPUT_GAP || type == RECORD_WARNING ||
	       type == RECORD_WAITING;
}

/* Disk for this record, and some more for later ones: blocks that are ours can be written when
 * there are no others. A file system that has no such thing goes without. */
static bool reserve(struct journal *j, uint8_t type, size_t n)
{
	if (j->end + n + RESERVE / 2 <= j->reserved)
		return true;
	if (fallocate(j->fd, FALLOC_FL_KEEP_SIZE, (off_t)j->end, (off_t)n + RESERVE) == 0)
		j->reserved = j->end + n + RESERVE;
	else if ((errno == ENOSPC || errno == EDQUOT) && is_note(type))
		return false;
	return true;
}

static bool put(struct journal *j, uint8_t type, const void *buf, size_t n)
{
	ssize_t done = reserve(j, type, n) ? pwrite(j->fd, buf, n, (off_t)j->end) : -1;

	if (done == (ssize_t)n)
		return true;
	j->err = done < 0 ? errno : ENOSPC;
	j->lost++;
	j->lost_exits += is_exit(type);
	if (done > 0 && ftruncate(j->fd, (off_t)j->end) < 0) /* the torn tail, cut off at once */
		log_warn("journal: %s", strerror(errno));
	return false;
}

static void append(struct journal *j, struct record head, const void *body, size_t len)
{
	char buf[RECORD_BUF] __attribute__((aligned(8)));
	size_t n;

	head.seq = j->now.seq + 1;
	n = record_encode(buf, head, body, len);
	if (n == 0) {
		log_error("journal: %s record of %zu bytes is too large", record_name(head.type),
			len);
		return;
	}
	if (!put(j, head.type, buf, n)) {
		head.seq = j->now.seq; /* not in the file: the number stays free */
		record_encode(buf, head, body, len);
	} else {
		j->end += n;
	}
	history_apply(&j->now, (const struct record *)(const void *)buf);
	if (j->appended)
		j->appended(j->ctx);
}

/* There is room again: says what is missing. */
static void tell_lost(struct journal *j)
{
	const struct exit_info exits = {.seq = j->now.exit_seq,
		.run = j->now.run,
		.flags = EXIT_UNKNOWN | EXIT_INFERRED,
		.count = j->lost_exits};
	uint32_t lost = j->lost;

	j->lost = j->lost_exits = 0;
	if (exits.count)
		journal_append(
			j, RECORD_EXIT_GAP, RECORD_INFERRED, exits.run, &exits, sizeof(exits));
	journal_warn(j, "%u records lost: %s", lost, strerror(j->err));
}

void journal_append(struct journal *j, enum record_type type, uint8_t flags, uint32_t run,
	const void *body, size_t len)
{
	struct record head = {
		.type = (uint8_t)type,
		.flags = flags,
		.run = run,
		.boot_usec = now_boot(),
		.real_usec = now_real(),
	};
	uint32_t lost = j->lost;

	if (j->end > j->max)
		compact(j);
	append(j, head, body, len);
	if (lost && j->lost == lost)
		tell_lost(j);
}

void journal_warn(struct journal *j, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	log_warn("%s", text);
	n = (size_t)n < sizeof(text) ? n : (int)sizeof(text) - 1;
	journal_append(j, RECORD_WARNING, RECORD_OBSERVED, j->now.run, text, (size_t)n + 1);
}

/* Reading ---------------------------------------------------------------------------------------
 */

#define SEEK_BYTES (32u << 10)

/* The last one at or before a sequence: none is the file's first record. */
static uint64_t mark_before(const struct journal *j, uint64_t seq)
{
	unsigned n = j->marks_len;

	while (n > 0 && j->marks[n - 1].seq > seq)
		n--;
	return n > 0 ? j->marks[n - 1].at : sizeof(struct journal_head);
}

static void mark(struct journal *j, uint64_t seq, uint64_t at)
{
	uint64_t last = j->marks_len ? j->marks[j->marks_len - 1].at : 0;

	if (j->marks_len < JOURNAL_MARKS && at >= last + j->max / JOURNAL_MARKS)
		j->marks[j->marks_len++] = (struct journal_mark){.seq = seq, .at = at};
}

/* The first record of this file with a sequence above the wanted one. */
static int seek_seq(struct journal *j, struct journal_place *p)
{
	auto_free char *buf = malloc(SEEK_BYTES);
	uint64_t at = mark_before(j, p->seq);

	if (!buf)
		return fault(-ENOMEM, "read journal");
	while (at < j->end) {
		ssize_t n = pread(j->fd, buf, SEEK_BYTES, (off_t)at);
		size_t done = 0, len;

		if (n <= 0)
			break;
		for (; (len = record_check(buf + done, (size_t)n - done, 0)) > 0; done += len) {
			const struct record *r = (const void *)(buf + done);

			mark(j, r->seq, at + done);
			if (r->seq > p->seq) {
				p->at = at + done;
				return 0;
			}
		}
		if (done == 0)
			break;
		at += done;
	}
	p->at = j->end;
	return 0;
}

ssize_t journal_read(
	struct journal *j, struct journal_place *p, void *buf, size_t size, uint64_t *missed)
{
	const struct record *first = buf;
	size_t whole = 0, len;
	ssize_t n;

	*missed = 0;
	if ((!p->at || p->file != j->file) && seek_seq(j, p) < 0)
		return -ENOMEM;
	p->file = j->file;
	if (p->at >= j->end)
		return 0;
	if (size > j->end - p->at)
		size = j->end - p->at;
	n = pread(j->fd, buf, size, (off_t)p->at);
	if (n < 0)
		return fault(-errno, "read journal");
	while ((len = record_check((char *)buf + whole, (size_t)n - whole, 0)) > 0)
		whole += len;
	if (whole && first->seq > p->seq + 1 && first->type != RECORD_GAP) {
		*missed = first->seq - p->seq - 1;
		p->seq = first->seq - 1;
	}
	return (ssize_t)whole;
}

void journal_passed(struct journal_place *p, const struct record *r)
{
	p->seq = r->seq;
	p->at += r->len;
}
