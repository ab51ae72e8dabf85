#include "shim/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"
#include "ipc/base/log.h"
#include "ipc/base/mem.h"

#define JOURNAL_BYTES_MAX (4u << 20)
#define JOURNAL_TAIL	  (256u << 10) /* kept by compaction: far more than the last 100 exits */
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

int journal_open(struct journal *j, int state_dirfd, const char *id)
{
	int r, fresh = 0;

	memset(j, 0, sizeof(*j));
	j->fd = -1;
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

/* Compaction: the newest records and behind them a snapshot of everything, as a new file. Readers
 * that fold it end at the same state; a crash in between leaves the old file. */
static size_t tail_start(struct journal *j, char *buf, size_t len, uint64_t *seq)
{
	size_t at = 0;

	/* records are 8-byte aligned: walk until one that is whole begins here */
	while (at + sizeof(struct record) <= len && !record_check(buf + at, len - at, 0))
		at += 8;
	*seq = at + sizeof(struct record) <= len ? ((struct record *)(void *)(buf + at))->seq
						 : j->now.seq + 1;
	return at;
}

static int write_compacted(struct journal *j, int fd, uint64_t *end)
{
	auto_free char *buf = malloc(JOURNAL_TAIL); /* given back to the kernel afterwards */
	char snapshot[RECORD_BUF] __attribute__((aligned(8)));
	struct record head = {.type = RECORD_SNAPSHOT, .seq = j->now.seq + 1, .run = j->now.run};
	struct journal_head jh, old;
	size_t at, len;
	uint64_t seq;
	int r;

	if (!buf)
		return -ENOMEM;
	if (pread(j->fd, buf, JOURNAL_TAIL, (off_t)(j->end - JOURNAL_TAIL)) != JOURNAL_TAIL ||
		pread(j->fd, &old, sizeof(old), 0) != sizeof(old))
		return -EIO;
	at = tail_start(j, buf, JOURNAL_TAIL, &seq);
	old.id[sizeof(old.id) - 1] = '\0';
	make_head(&jh, old.id, j->now.boot_id, seq);
	head.boot_usec = now_boot();
	head.real_usec = now_real();
	len = record_encode(snapshot, head, &j->now, sizeof(j->now));
	r = write_all(fd, &jh, sizeof(jh));
	if (r == 0)
		r = write_all(fd, buf + at, JOURNAL_TAIL - at);
	if (r == 0)
		r = write_all(fd, snapshot, len);
	*end = sizeof(jh) + JOURNAL_TAIL - at + len;
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
		return;
	}
	close(j->fd);
	j->fd = fd_take(&fd);
	j->end = end;
	j->now.seq++;
	j->file++;
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
	/* A short write is a torn tail: it is overwritten by the next record, at the same place. */
	if (pwrite(j->fd, buf, n, (off_t)j->end) != (ssize_t)n) {
		j->lost++;
		j->err = errno;
		head.seq = j->now.seq; /* not in the file: the number stays free */
		record_encode(buf, head, body, len);
	} else {
		j->end += n;
	}
	history_apply(&j->now, (const struct record *)(const void *)buf);
	if (j->appended)
		j->appended(j->ctx);
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

	if (j->end > JOURNAL_BYTES_MAX)
		compact(j);
	append(j, head, body, len);
	if (lost && j->lost == lost) { /* there is room again: say what is missing */
		j->lost = 0;
		journal_warn(j, "%u records lost: %s", lost, strerror(j->err));
	}
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

/* The first record of this file with a sequence above the wanted one. */
static int seek_seq(struct journal *j, struct journal_place *p)
{
	auto_free char *buf = malloc(SEEK_BYTES);
	uint64_t at = sizeof(struct journal_head);

	if (!buf)
		return fault(-ENOMEM, "read journal");
	while (at < j->end) {
		ssize_t n = pread(j->fd, buf, SEEK_BYTES, (off_t)at);
		size_t done = 0, len;

		if (n <= 0)
			break;
		for (; (len = record_check(buf + done, (size_t)n - done, 0)) > 0; done += len)
			if (((struct record *)(void *)(buf + done))->seq > p->seq) {
				p->at = at + done;
				return 0;
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
	if (whole && first->seq > p->seq + 1) {
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
