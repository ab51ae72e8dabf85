#include "ipc/post_mortem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/mem.h"
#include "ipc/log_tail.h"
#include "ipc/sum.h"

static uint32_t sum_of(const struct post_mortem_full *p)
{
	size_t from = offsetof(struct post_mortem, exit);

	return sum_bytes((const char *)p + from, sizeof(p->head) - from + p->head.output_len);
}

static off_t place(uint32_t run)
{
	return (off_t)(run % POST_MORTEM_SLOTS) * POST_MORTEM_SLOT;
}

static int slot_read(int fd, uint32_t slot, struct post_mortem_full *ret)
{
	ssize_t n = pread(fd, ret, sizeof(*ret), place(slot));
	const struct post_mortem *h = &ret->head;

	if (n < 0)
		return fault(-errno, "read postmortem");
	if (n < (ssize_t)sizeof(*h) || h->magic != POST_MORTEM_MAGIC || h->size != sizeof(*h) ||
		h->output_len > POST_MORTEM_OUTPUT || (size_t)n < sizeof(*h) + h->output_len ||
		h->sum != sum_of(ret))
		return -ENOENT;
	ret->head.cause[sizeof(h->cause) - 1] = ret->head.by[sizeof(h->by) - 1] = '\0';
	return 0;
}

int post_mortem_read(int fd, uint32_t run, struct post_mortem_full *ret)
{
	int r = slot_read(fd, run, ret);

	return r == 0 && ret->head.exit.run != run ? -ENOENT : r;
}

int post_mortem_write(int fd, struct post_mortem_full *p)
{
	size_t len = sizeof(p->head) + p->head.output_len;

	p->head.magic = POST_MORTEM_MAGIC;
	p->head.size = sizeof(p->head);
	p->head.sum = sum_of(p);
	if (pwrite(fd, p, len, place(p->head.exit.run)) != (ssize_t)len)
		return fault(errno ? -errno : -ENOSPC, "write postmortem");
	return 0;
}

void post_mortem_output(struct post_mortem_full *p, int log_dirfd)
{
	const uint64_t end[LOG_STREAMS] = {p->head.exit.stdout_end, p->head.exit.stderr_end};
	int64_t n = log_tail(log_dirfd, p->head.begin, end, p->output, sizeof(p->output));

	p->head.output_len = n > 0 ? (uint32_t)n : 0;
	p->head.has |= n >= 0 ? POST_MORTEM_TAIL : 0;
}

/* What is still in its pipes would be missing without a word. */
static bool all_there(const struct post_mortem_full *p, int log_dirfd)
{
	const uint64_t end[LOG_STREAMS] = {p->head.exit.stdout_end, p->head.exit.stderr_end};
	bool there = true;

	for (int i = 0; there && i < LOG_STREAMS; i++) {
		int64_t at = log_stream_end(log_dirfd, (enum log_stream)i);

		there = at >= 0 && (uint64_t)at >= end[i];
	}
	return there;
}

int post_mortem_list(int state_dirfd, int log_dirfd, bool whole, uint32_t before_run,
	struct post_mortem_full *ret, size_t limit)
{
	auto_fd fd = openat(state_dirfd, "postmortem", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	auto_free struct post_mortem_full *p = malloc(sizeof(*p));
	uint32_t runs[POST_MORTEM_SLOTS], newest;
	size_t n = 0;

	if (fd < 0)
		return errno == ENOENT ? 0 : fault(-errno, "open postmortem");
	if (!p)
		return fault(-ENOMEM, "read postmortem");
	for (uint32_t i = 0; i < POST_MORTEM_SLOTS; i++)
		runs[i] = slot_read(fd, i, p) == 0 ? p->head.exit.run : 0;
	for (;;) {
		newest = 0;
		for (uint32_t i = 0; i < POST_MORTEM_SLOTS; i++)
			if (runs[i] > newest && (!before_run || runs[i] < before_run))
				newest = runs[i];
		if (!newest || n == limit)
			return (int)n;
		before_run = newest;
		if (post_mortem_read(fd, newest, &ret[n]) < 0)
			continue; /* a newer run's meanwhile */
		if (!(ret[n].head.has & POST_MORTEM_TAIL) && log_dirfd >= 0 &&
			(!whole || all_there(&ret[n], log_dirfd)))
			post_mortem_output(&ret[n], log_dirfd);
		n++;
	}
}
