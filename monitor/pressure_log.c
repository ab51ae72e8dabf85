#include "monitor/pressure_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/mem.h"
#include "ipc/sum.h"

#define FILE_NAME    "pressure"
#define LOG_MAGIC    0x657275737365720aULL
#define LOG_VERSION  1u
#define SPACING_USEC (500 * USEC_PER_MSEC) /* of slots: they last for so much longer */
#define CHUNK	     16u

_Static_assert(sizeof(struct pressure_log_head) + LOGGED_MAX * sizeof(struct logged) <= 1u << 16,
	"no more than 64 KiB each");
_Static_assert(sizeof(struct logged) == 96 && sizeof(struct pressure_log_head) == 64,
	"a file's layout has no holes");

static off_t place(uint32_t seq)
{
	return (off_t)(sizeof(struct pressure_log_head) + seq % LOGGED_MAX * sizeof(struct logged));
}

static uint32_t sum_of(const struct logged *s)
{
	return sum_bytes(&s->seq, sizeof(*s) - offsetof(struct logged, seq));
}

static bool intact(const struct logged *s, uint32_t slot)
{
	return s->seq && s->seq % LOGGED_MAX == slot && s->sum == sum_of(s);
}

static bool known(const struct pressure_log_head *h, ssize_t len)
{
	return len == (ssize_t)sizeof(*h) && h->magic == LOG_MAGIC && h->version == LOG_VERSION &&
	       h->slot_size == sizeof(struct logged) && h->slots == LOGGED_MAX;
}

/* Writing -------------------------------------------------------------------------------------- */

static int make(int fd, const char *boot_id)
{
	struct pressure_log_head h = {
		.magic = LOG_MAGIC,
		.version = LOG_VERSION,
		.slot_size = sizeof(struct logged),
		.slots = LOGGED_MAX,
	};

	snprintf(h.boot_id, sizeof(h.boot_id), "%s", boot_id);
	if (ftruncate(fd, 0) < 0 || pwrite(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h))
		return fault(-(errno ? errno : EIO), "write %s", FILE_NAME);
	return 0;
}

/* Where a predecessor has got to. In pieces: a shim has no pages for all of it. */
static void find_end(struct pressure_log *l, int fd)
{
	struct logged chunk[CHUNK];
	ssize_t n;

	for (uint32_t slot = 0; slot < LOGGED_MAX; slot += CHUNK) {
		n = pread(fd, chunk, sizeof(chunk), place(slot));
		for (uint32_t i = 0; n > 0 && i < (size_t)n / sizeof(chunk[0]); i++)
			if (intact(&chunk[i], slot + i) && chunk[i].seq > l->seq) {
				l->seq = chunk[i].seq;
				l->newest = l->before = chunk[i].boot_usec;
			}
	}
}

/* A file of another boot or of another release begins anew. */
static int begin(struct pressure_log *l, int fd, const char *boot_id)
{
	struct pressure_log_head h;

	if (!known(&h, pread(fd, &h, sizeof(h), 0)) ||
		strncmp(h.boot_id, boot_id, sizeof(h.boot_id)) != 0)
		return make(fd, boot_id);
	find_end(l, fd);
	return 0;
}

/* The newest slot is written over for as long as it is close to the one before. */
static bool shares_slot(const struct pressure_log *l, uint64_t now)
{
	return l->newest - l->before < SPACING_USEC && now - l->newest < SPACING_USEC &&
	       l->newest > l->before;
}

bool pressure_log_due(const struct pressure_log *l, uint64_t now)
{
	return now - l->newest >= SPACING_USEC;
}

int pressure_log_add(
	struct pressure_log *l, int state_dirfd, const char *boot_id, struct logged *sample)
{
	auto_fd fd = openat(state_dirfd, FILE_NAME,
		O_RDWR | O_CLOEXEC | O_NOFOLLOW | (l->seq ? 0 : O_CREAT), 0600);
	int r;

	if (fd < 0)
		return fault(-errno, "open %s", FILE_NAME);
	r = l->seq ? 0 : begin(l, fd, boot_id);
	if (r < 0)
		return r;
	if (!shares_slot(l, sample->boot_usec)) {
		l->before = l->newest;
		l->seq++;
	}
	l->newest = sample->boot_usec;
	sample->seq = l->seq;
	sample->sum = sum_of(sample);
	errno = 0;
	if (pwrite(fd, sample, sizeof(*sample), place(l->seq)) != (ssize_t)sizeof(*sample))
		return fault(-(errno ? errno : EIO), "write %s", FILE_NAME);
	return 0;
}

/* Reading -------------------------------------------------------------------------------------- */

static int by_seq(const void *a, const void *b)
{
	const struct logged *x = a, *y = b;

	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* In order of time, too: whatever goes back is dropped. */
static size_t in_order(struct logged *s, size_t len)
{
	size_t kept = 0;

	qsort(s, len, sizeof(*s), by_seq);
	for (size_t i = 0; i < len; i++)
		if (!kept || s[i].boot_usec > s[kept - 1].boot_usec)
			s[kept++] = s[i];
	return kept;
}

int pressure_log_read(int state_dirfd, struct pressure_past *ret)
{
	auto_fd fd = openat(state_dirfd, FILE_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct pressure_log_head h;
	ssize_t n;

	ret->len = 0;
	ret->boot_id[0] = '\0';
	if (fd < 0)
		return errno == ENOENT ? fault_plain(-ENOENT, "no %s", FILE_NAME)
				       : fault(-errno, "open %s", FILE_NAME);
	if (!known(&h, pread(fd, &h, sizeof(h), 0)))
		return fault_plain(-EBADMSG, "%s: no samples that are known here", FILE_NAME);
	memcpy(ret->boot_id, h.boot_id, BOOT_ID_LEN);
	ret->boot_id[BOOT_ID_LEN] = '\0';
	n = pread(fd, ret->samples, sizeof(ret->samples), sizeof(h));
	if (n < 0)
		return fault(-errno, "read %s", FILE_NAME);
	for (uint32_t slot = 0; slot < (size_t)n / sizeof(ret->samples[0]); slot++)
		if (intact(&ret->samples[slot], slot))
			ret->samples[ret->len++] = ret->samples[slot];
	ret->len = ret->len ? in_order(ret->samples, ret->len) : 0;
	return 0;
}
