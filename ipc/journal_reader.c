#include "ipc/journal_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"

#define READ_BYTES (64u << 10) /* of at least one record */

static int head_check(const struct journal_head *head, ssize_t len)
{
	if (len < (ssize_t)sizeof(*head) || head->magic != JOURNAL_MAGIC ||
		head->size < sizeof(*head) || head->size % 8)
		return fault_plain(-EBADMSG, "journal: its head is damaged");
	if (head->version != JOURNAL_VERSION)
		return fault_plain(-EPROTO, "journal: version %u is not known here", head->version);
	return 0;
}

static int file_open(struct journal_reader *r)
{
	auto_fd fd = openat(r->dirfd, "journal", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct journal_head head;
	int result;

	if (fd < 0)
		return errno == ENOENT ? fault_plain(-ENOENT, "no journal")
				       : fault(-errno, "open journal");
	result = head_check(&head, pread(fd, &head, sizeof(head), 0));
	if (result < 0)
		return result;
	fd_close(&r->fd);
	r->fd = fd_take(&fd);
	r->head = head;
	r->head.id[sizeof(r->head.id) - 1] = r->head.boot_id[BOOT_ID_LEN] = '\0';
	r->at = head.size;
	r->expect = head.seq_first;
	r->len = 0;
	return 0;
}

int journal_reader_open(struct journal_reader *r, int state_dirfd, uint64_t seq)
{
	int result;

	*r = (struct journal_reader){.dirfd = state_dirfd, .fd = -1, .seq = seq};
	result = file_open(r);
	if (result == 0) {
		r->buf = malloc(READ_BYTES); /* malloc's alignment is what records want */
		result = r->buf ? 0 : fault(-ENOMEM, "read journal");
	}
	if (result < 0)
		journal_reader_finish(r);
	return result;
}

void journal_reader_finish(struct journal_reader *r)
{
	fd_close(&r->fd);
	free(r->buf);
	r->buf = NULL;
}

/* The intact record at r->at, NULL: there is none (yet). */
static const struct record *peek(const struct journal_reader *r)
{
	const struct record *rec;
	size_t off = (size_t)(r->at - r->buf_at);

	if (r->at < r->buf_at || off >= r->len)
		return NULL;
	rec = (const void *)(r->buf + off);
	return record_check(rec, r->len - off, 0) && journal_follows(rec, r->expect) ? rec : NULL;
}

/* The same, read anew when it is not in the buffer: it may have been written meanwhile. */
static int look(struct journal_reader *r, const struct record **ret)
{
	ssize_t n;

	*ret = peek(r);
	if (*ret)
		return 0;
	n = pread(r->fd, r->buf, READ_BYTES, (off_t)r->at);
	if (n < 0)
		return fault(-errno, "read journal");
	r->buf_at = r->at;
	r->len = (size_t)n;
	*ret = peek(r);
	return 0;
}

/* 1: another file stands in its place, and is open now. */
static int replaced(struct journal_reader *r)
{
	struct stat ours, named;
	int result;

	if (fstat(r->fd, &ours) < 0 ||
		fstatat(r->dirfd, "journal", &named, AT_SYMLINK_NOFOLLOW) < 0)
		return 0; /* removed: what we have is all */
	if (ours.st_ino == named.st_ino && ours.st_dev == named.st_dev)
		return 0;
	result = file_open(r);
	return result < 0 ? result : 1;
}

static void pass(struct journal_reader *r, const struct record *rec)
{
	r->at += rec->len;
	r->expect = rec->seq + 1;
}

static int gap(struct journal_reader *r, uint64_t upto, uint64_t *missed)
{
	*missed = upto - r->seq;
	r->seq = upto;
	return JOURNAL_GAP;
}

int journal_reader_next(struct journal_reader *r, const struct record **ret, uint64_t *missed)
{
	for (;;) {
		const struct record *rec;
		int result = look(r, &rec);

		if (result == 0 && !rec) {
			result = replaced(r);
			if (result == 0)
				return JOURNAL_END;
			if (result > 0)
				continue;
		}
		if (result < 0)
			return result;
		if (rec->seq > r->seq + 1 && rec->type != RECORD_GAP)
			return gap(r, rec->seq - 1, missed);
		pass(r, rec);
		if (rec->seq <= r->seq)
			continue;
		if (rec->type == RECORD_GAP)
			return gap(r, rec->seq, missed);
		r->seq = rec->seq;
		*ret = rec;
		return JOURNAL_RECORD;
	}
}
