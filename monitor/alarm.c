/* What wakes a sleeping monitor. libev can't wait for EPOLLPRI, and these files always poll
 * readable: so they stand in an epoll of their own, edge-triggered, and that one is watched. Its
 * first epoll_wait may find nothing, since the poll of the outer loop has consumed the event: that
 * it fired is all there is to know. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"
#include "monitor/sense.h"

#define PSI_STEP     (2 * USEC_PER_SEC) /* without CAP_SYS_RESOURCE */
#define PSI_MIN	     (500 * USEC_PER_MSEC)
#define PSI_MAX	     (10 * USEC_PER_SEC)
#define STALL_MIN    (10 * USEC_PER_MSEC)
#define CAP_RESOURCE 24 /* CAP_SYS_RESOURCE of <linux/capability.h> */

uint64_t alarm_window_step(void)
{
	char text[4096];
	const char *at;

	if (file_read_buf(AT_FDCWD, "/proc/self/status", text, sizeof(text)) < 0)
		return PSI_STEP;
	at = strstr(text, "\nCapEff:");
	if (!at)
		return PSI_STEP;
	return strtoull(at + strlen("\nCapEff:"), NULL, 16) >> CAP_RESOURCE & 1 ? 0 : PSI_STEP;
}

static int watch(struct sense *s, int fd, uint32_t events)
{
	struct epoll_event e = {.events = events | EPOLLET, .data.fd = fd};

	return epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &e) < 0 && errno != EEXIST ? -errno : 0;
}

static int keep(struct sense *s, int *fd, uint32_t events)
{
	int r;

	if (s->alarms == SENSE_ALARMS)
		return -ENOSPC;
	r = watch(s, *fd, events);
	if (r == 0)
		s->alarm[s->alarms++] = fd_take(fd);
	return r;
}

static int psi_write(int fd, bool full, uint64_t stall, uint64_t window)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "%s %" PRIu64 " %" PRIu64, full ? "full" : "some",
		stall, window);

	/* with its NUL: older kernels cut the last character off without */
	return write(fd, text, (size_t)n + 1) < 0 ? -errno : 0;
}

int alarm_pressure(
	struct sense *s, int dir, const char *file, bool full, uint64_t stall, uint64_t window)
{
	auto_fd fd = openat(dir, file, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	uint64_t want = window;
	int r;

	if (fd < 0)
		return -errno;
	window = window < PSI_MIN ? PSI_MIN : window > PSI_MAX ? PSI_MAX : window;
	stall = (uint64_t)((unsigned __int128)stall * window / (want ? want : 1));
	stall = stall < STALL_MIN ? STALL_MIN : stall > window ? window : stall;
	r = psi_write(fd, full, stall, window);
	if (r == -EINVAL) { /* unprivileged: the averages' worker looks, every 2 s */
		s->rounded = true;
		window = (window + PSI_STEP - 1) / PSI_STEP * PSI_STEP;
		r = psi_write(fd, full, stall, window);
	}
	return r < 0 ? r : keep(s, &fd, EPOLLPRI);
}

int alarm_changes(struct sense *s, int fd)
{
	return fd < 0 ? -EBADF : watch(s, fd, EPOLLPRI);
}

static int v1_event(int dir, int fd, const char *argument)
{
	auto_fd event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	char text[64];
	int r;

	if (event < 0 || fd < 0)
		return event < 0 ? -errno : -EBADF;
	snprintf(text, sizeof(text), "%d %d %s", event, fd, argument);
	r = file_write(dir, "cgroup.event_control", text);
	return r < 0 ? r : fd_take(&event);
}

int alarm_v1(struct sense *s, int dir, int fd, const char *argument)
{
	auto_fd event = v1_event(dir, fd, argument);

	return event < 0 ? event : keep(s, &event, EPOLLIN);
}

int alarm_v1_once(struct sense *s, int dir, int fd, const char *argument, int *ret)
{
	*ret = v1_event(dir, fd, argument);
	return *ret < 0 ? *ret : watch(s, *ret, EPOLLIN);
}

/* Edges: each is told once, and an eventfd's next write is another. */
void alarm_drain(struct sense *s)
{
	struct epoll_event events[8];

	while (epoll_wait(s->epoll, events, 8, 0) == 8)
		;
}
