#include "shim/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"
#include "ipc/base/log.h"
#include "ipc/let_go.h"
#include "ipc/notify.h"
#include "shim/shim.h"
#include "shim/store.h"

#define FDS_MAX	     253	  /* SCM_MAX_FD: more can't come */
#define TURN_MAX     64		  /* datagrams: a service must not keep the loop to itself */
#define END_MAX	     4096	  /* the same, for a service that is dead */
#define ANSWER_USEC  USEC_PER_SEC /* for init's answer: after that it is not waited for */
#define SYNC_USEC    (5 * USEC_PER_MSEC)
#define CGROUP_BYTES 8192

enum sender { SENDER_STRANGE, SENDER_INSIDE, SENDER_GONE };

struct datagram {
	char text[NOTIFY_TEXT_MAX];
	ssize_t len;
	bool cut;
	struct ucred from; /* its pid as we see it */
	enum sender sender;
	uint64_t sent; /* wall clock, usec */
	int fds[FDS_MAX];
	unsigned nfds;
};

union control {
	struct cmsghdr align;
	char buf[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(struct timeval)) +
		 CMSG_SPACE(sizeof(int) * FDS_MAX)];
};

static void take_control(struct msghdr *m, struct datagram *d)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t len = c->cmsg_len - CMSG_LEN(0);
		struct timeval tv;

		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_CREDENTIALS && len == sizeof(d->from)) {
			memcpy(&d->from, CMSG_DATA(c), len);
		} else if (c->cmsg_type == SCM_TIMESTAMP && len == sizeof(tv)) {
			memcpy(&tv, CMSG_DATA(c), len);
			d->sent = (uint64_t)tv.tv_sec * USEC_PER_SEC + (uint64_t)tv.tv_usec;
		} else if (c->cmsg_type == SCM_RIGHTS) {
			d->nfds = (unsigned)(len / sizeof(int));
			memcpy(d->fds, CMSG_DATA(c), d->nfds * sizeof(int));
		}
	}
}

/* Looks at the first datagram without taking it: 0, or -errno. Its descriptors are copies. */
static int look(int fd, struct datagram *d)
{
	union control control;
	struct iovec iov = {d->text, sizeof(d->text)};
	struct msghdr m = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};

	d->nfds = 0;
	d->sent = 0;
	d->from = (struct ucred){0};
	do
		d->len = recvmsg(fd, &m, MSG_DONTWAIT | MSG_PEEK | MSG_CMSG_CLOEXEC);
	while (d->len < 0 && errno == EINTR);
	if (d->len < 0)
		return -errno;
	d->cut = (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
	take_control(&m, d);
	return 0;
}

/* Whose is it? -----------------------------------------------------------------------------------
 */

static bool below(const char *path, size_t len, const char *group)
{
	size_t n = strlen(group);

	return len >= n && memcmp(path, group, n) == 0 && (len == n || path[n] == '/');
}

/* Every process of the container is in its group in some hierarchy. */
static enum sender whose(const struct shim *s, pid_t pid)
{
	char path[40], text[CGROUP_BYTES];
	int r;

	if (pid <= 0)
		return SENDER_STRANGE; /* of a pid namespace beside ours */
	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	r = (int)file_read_buf(AT_FDCWD, path, text, sizeof(text));
	if (r <= 0)
		return r == -ENOENT || r == -ESRCH ? SENDER_GONE : SENDER_STRANGE;
	for (char *line = text, *end; *line; line = end + (*end == '\n')) {
		const char *at = strchr(line, ':');

		end = line + strcspn(line, "\n");
		at = at ? strchr(at + 1, ':') : NULL;
		if (at && at < end && below(at + 1, (size_t)(end - at - 1), s->settings.cgroup))
			return SENDER_INSIDE;
	}
	return SENDER_STRANGE;
}

bool notify_is_inside(const struct shim *s, int32_t pid)
{
	return whose(s, pid) == SENDER_INSIDE;
}

/* The socket stands in the container alone; whoever reaches it from outside and lives is turned
 * away. A sender that is gone already (systemd-notify and its like end at once) is believed: the
 * way there was open to root of the host only. */
static bool counts(const struct shim *s, struct datagram *d)
{
	d->sender = whose(s, d->from.pid);
	return !d->cut && d->sender != SENDER_STRANGE;
}

/* No process of a run lives on in the next one. Of a sender that is gone the time tells: what was
 * sent before the last run's end is of an earlier one. */
static bool of_this_run(const struct shim *s, const struct datagram *d)
{
	return d->sender == SENDER_INSIDE || d->sent >= s->journal.now.last.real_end;
}

/* What follows from it --------------------------------------------------------------------------
 */

static void take(struct shim *s, struct datagram *d)
{
	struct notify_msg m;

	notify_parse(d->text, (size_t)d->len, &m);
	for (unsigned i = 0; m.store && i < d->nfds; i++)
		store_add(s, m.fdname, fd_take(&d->fds[i]));
	if (m.unstore && m.named)
		store_remove(s, m.fdname);
	if (s->shared && of_this_run(s, d))
		health_heard(s, &m, d->sent);
}

/* Our copies go last: with the datagram the kernel would close what it carries, in this thread. */
static void skip(int fd, struct datagram *d)
{
	char byte;

	if (recv(fd, &byte, 1, MSG_DONTWAIT | MSG_TRUNC) < 0)
		log_debug("notify: %s", strerror(errno)); /* nothing there: it was taken */
	let_go(d->fds, d->nfds);
}

static void skip_first(int fd)
{
	struct datagram d;

	if (look(fd, &d) == 0)
		skip(fd, &d);
}

/* false: there is none, or it must stay till init has answered. */
static bool one(struct shim *s)
{
	struct datagram d;
	int fd = s->notify.io.fd, r = look(fd, &d);

	if (r < 0)
		return false;
	if (counts(s, &d))
		take(s, &d);
	if (!s->notify.tag) {
		skip(fd, &d);
		return true;
	}
	for (unsigned i = 0; i < d.nfds; i++)
		fd_close(&d.fds[i]); /* the datagram has its own */
	return false;
}

static void wait_for(struct shim *s, uint64_t usec)
{
	loop_io_want(&s->notify.io, false, false);
	loop_timer_set(&s->notify.timer, usec);
}

static bool has_socket(const struct shim *s)
{
	return s->notify.io.loop && s->notify.io.fd >= 0;
}

static void on_readable(struct loop_io *io)
{
	struct shim *s = io->ctx;

	if (s->sync_tag) { /* what init has to tell comes first: which run is it? */
		wait_for(s, SYNC_USEC);
		return;
	}
	if (s->shared)
		exits_read(s, UINT64_MAX, s->shared->run);
	for (int n = 0; n < TURN_MAX && has_socket(s) && one(s);)
		n++;
	if (s->notify.tag)
		wait_for(s, ANSWER_USEC);
}

void notify_catch_up(struct shim *s)
{
	for (int n = 0; n < END_MAX && has_socket(s) && !s->notify.tag && one(s);)
		n++;
}

static void go_on(struct shim *s)
{
	loop_timer_cancel(&s->notify.timer);
	if (has_socket(s))
		loop_io_want(&s->notify.io, true, false);
}

/* An init that does not answer (it was stopped, perhaps) holds up nothing for ever. */
static void on_timer(struct loop_timer *t)
{
	struct shim *s = t->ctx;

	if (s->notify.tag && has_socket(s))
		skip_first(s->notify.io.fd);
	s->notify.tag = 0;
	go_on(s);
}

void notify_answered(struct shim *s, uint64_t tag)
{
	if (s->notify.tag && tag == s->notify.tag)
		on_timer(&s->notify.timer);
}

void notify_setup(struct shim *s)
{
	s->notify.io.fd = -1;
	loop_timer_init(&s->notify.timer, &s->loop, on_timer, s);
}

void notify_held(struct shim *s, uint64_t key, int fd)
{
	loop_io_finish(&s->notify.io);
	s->notify.tag = 0;
	loop_io_start(&s->notify.io, &s->loop, fd, on_readable, s);
}

void notify_end(struct shim *s)
{
	if (!has_socket(s))
		return;
	if (s->notify.tag)
		on_timer(&s->notify.timer);
	for (int n = 0; n < END_MAX && one(s); n++)
		s->notify.tag = 0;
	s->notify.tag = 0;
	loop_timer_cancel(&s->notify.timer);
	loop_io_finish(&s->notify.io);
	link_keeper_drop(s, HELD_NOTIFY, 0);
}
