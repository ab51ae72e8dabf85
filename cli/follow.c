#include "cli/follow.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"

#define CHUNK	    65536
#define STEP	    4096 /* a pipe or terminal that polls writable takes this much at once */
#define OLD_TICK_MS 100

void follow_init(struct follow *f, int dirfd, enum log_stream stream, int out)
{
	struct stat st;

	*f = (struct follow){.dirfd = dirfd, .stream = stream, .out = out, .fd = -1};
	f->patient = fstat(out, &st) < 0 || !S_ISREG(st.st_mode);
}

void follow_finish(struct follow *f)
{
	fd_close(&f->fd);
}

static int segment_open(struct follow *f, uint64_t base)
{
	char name[LOG_NAME_MAX];
	int fd;

	log_segment_name(name, f->stream, base, "raw");
	fd = openat(f->dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? 0 : fault(-errno, "open %s", name);
	fd_close(&f->fd);
	f->fd = fd;
	f->base = base;
	return 1;
}

/* The segment that f->at is in, or, where rotation was faster, the next one that there is. */
static int segment_find(struct follow *f)
{
	struct log_segments list;
	int r = log_segments_list(f->dirfd, f->stream, &list);
	size_t i = 0;

	if (r < 0 || list.len == 0)
		return r;
	while (i + 1 < list.len && list.base[i + 1] <= f->at)
		i++;
	if (list.base[i] > f->at) {
		f->lost += list.base[i] - f->at;
		f->at = list.base[i];
	}
	if (f->fd >= 0 && list.base[i] == f->base)
		return 0;
	return segment_open(f, list.base[i]);
}

/* At the end of a segment: is there a next one? 1: it is open. Its name is where we stand. */
static int segment_next(struct follow *f)
{
	int r;

	if (f->fd < 0)
		return segment_find(f);
	if (f->at == f->base)
		return 0;
	r = segment_open(f, f->at);
	return r;
}

/* How much of buf out took, 0 when it is full. */
static size_t put(struct follow *f, const char *buf, size_t len)
{
	struct pollfd p = {.fd = f->out, .events = POLLOUT};
	ssize_t n;

	if (f->deaf)
		return len;
	if (f->patient) {
		if (poll(&p, 1, 0) <= 0)
			return 0;
		len = len < STEP ? len : STEP;
	}
	n = write(f->out, buf, len);
	if (n >= 0)
		return (size_t)n;
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	f->err = errno;
	f->deaf = true; /* its reader is gone, or its disk is full: the service goes on */
	return len;
}

int follow_pump(struct follow *f)
{
	char buf[CHUNK];

	for (;;) {
		ssize_t n =
			f->fd < 0 ? 0 : pread(f->fd, buf, sizeof(buf), (off_t)(f->at - f->base));
		size_t done = 0;
		int r;

		if (n < 0)
			return fault(-errno, "read output");
		if (n == 0) {
			r = segment_next(f);
			if (r <= 0)
				return r < 0 ? r : FOLLOW_IDLE;
			continue;
		}
		while (done < (size_t)n) {
			size_t took = put(f, buf + done, (size_t)n - done);

			if (took == 0)
				return FOLLOW_FULL;
			done += took;
			f->at += took;
		}
	}
}

int follow_watch(int dirfd)
{
	auto_fd watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", dirfd);
	if (watch < 0 || inotify_add_watch(watch, path, IN_CREATE | IN_MODIFY | IN_ONLYDIR) < 0)
		return fault(-errno, "watch the log directory");
	return fd_take(&watch);
}

void follow_drain(int watch)
{
	char events[4096] __attribute__((aligned(8)));

	while (read(watch, events, sizeof(events)) > 0)
		;
}

int follow_patience(void)
{
	struct utsname u;
	unsigned major = 0, minor = 0;

	if (uname(&u) < 0 || sscanf(u.release, "%u.%u", &major, &minor) != 2)
		return OLD_TICK_MS;
	return major > 6 || (major == 6 && minor >= 6) ? -1 : OLD_TICK_MS;
}
