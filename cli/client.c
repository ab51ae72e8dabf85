#include "cli/client.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/adopt.h"
#include "cli/command.h"
#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"

#define OPEN_DEADLINE_USEC (10 * USEC_PER_SEC)
#define OPEN_STEP_MS	   5
#define ANSWER_USEC	   (15 * USEC_PER_SEC) /* a shim is replaced in a second or two under load */
#define OUTPUT_USEC	   (2 * USEC_PER_SEC)

/* The path of a state directory may be longer than sun_path: the way is through our descriptor. The
 * queue of a keeper that stands still may be full: connecting must not wait for it. */
static int try_connect(const struct state *s)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	auto_fd fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/sock", s->dirfd);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || fcntl(fd, F_SETFL, 0) < 0)
		return -errno;
	return fd_take(&fd);
}

/* Its keeper stands still, or no shim comes up. */
static int silent(const struct state *s, uint64_t usec)
{
	char log[PATH_MAX] = "";

	if (faccessat(s->dirfd, "shim.log", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		snprintf(log, sizeof(log), "; its log: %s/%s/%s/shim.log", state_root(), REALM,
			s->id);
	return fault_plain(-ETIMEDOUT,
		"the supervisor of \"%s\" does not answer for %d s (stopped, perhaps%s)", s->id,
		(int)(usec / USEC_PER_SEC), log);
}

/* A keeper holds the lock before it listens, and nothing announces the socket: ask again soon. */
int client_open(struct client *c, const struct state *s)
{
	uint64_t deadline = now_mono() + OPEN_DEADLINE_USEC;
	int r;

	c->tag = 0;
	for (;;) {
		c->fd = try_connect(s);
		if (c->fd >= 0)
			return CLIENT_DONE;
		if (c->fd != -ENOENT && c->fd != -ECONNREFUSED && c->fd != -EAGAIN)
			return fault(c->fd, "connect to the supervisor of %s", s->id);
		r = state_supervised(s);
		if (r <= 0)
			return r < 0 ? r : CLIENT_GONE;
		if (now_mono() > deadline)
			return silent(s, OPEN_DEADLINE_USEC);
		poll(NULL, 0, OPEN_STEP_MS);
	}
}

/* As client_recv(); -EAGAIN: nothing came until then. */
static int recv_until(struct client *c, struct packet *p, uint64_t until)
{
	struct pollfd in = {.fd = c->fd, .events = POLLIN};

	for (;;) {
		int r = client_recv(c, p, 1);
		uint64_t now = now_mono();

		if (r != -EAGAIN || now >= until)
			return r;
		poll(&in, 1, (int)((until - now) / USEC_PER_MSEC) + 1);
	}
}

/* Whoever died a moment ago may still let us in, and what is asked of it nobody hears: only who
 * answers is there. */
int client_look(struct client *c, const struct state *s, struct client_state *ret)
{
	uint64_t until = now_mono() + ANSWER_USEC;
	struct packet p;
	int r = client_send(c, CLIENT_STATE, NULL, 0);

	do {
		if (r == CLIENT_DONE)
			r = recv_until(c, &p, until);
		if (r != CLIENT_DONE)
			return r == -EAGAIN ? silent(s, ANSWER_USEC) : r;
	} while (p.h.tag != c->tag);
	if (p.h.verb != CLIENT_STATE_IS)
		return fault_plain(-EPROTO, "state answered by %s", verb_name(p.h.verb));
	memcpy(ret, p.body, sizeof(*ret));
	return CLIENT_DONE;
}

int client_gone_again(const struct state *s)
{
	return fault_plain(-EIO,
		"%s: its supervisor goes away again and again (its log: shim.log in %s/%s/%s)",
		s->id, state_root(), REALM, s->id);
}

static int until_answered(struct client *c, const struct state *s,
	int (*open)(struct client *c, const struct state *s))
{
	struct client_state st;

	for (int i = 0; i < CLIENT_TRIES; i++) {
		int r = open(c, s);

		if (r == CLIENT_DONE)
			r = client_look(c, s, &st);
		else
			return r;
		if (r != CLIENT_GONE)
			return r;
		client_close(c);
	}
	return client_gone_again(s);
}

static int revive(struct client *c, const struct state *s)
{
	struct history h;
	bool stale;
	int r = client_open(c, s);
	int lock;

	if (r != CLIENT_GONE)
		return r;
	r = state_history(s, &h, &stale);
	if (r < 0 || stale || h.state == LIFE_NEW || h.state == LIFE_DOWN ||
		h.state == LIFE_REMOVED)
		return r < 0 ? r : CLIENT_GONE;
	lock = state_lock(s);
	if (lock == -EAGAIN) /* another command is doing the same */
		return client_open(c, s);
	if (lock < 0)
		return lock;
	if (!state_current(s)) {
		fd_close(&lock);
		return CLIENT_GONE;
	}
	r = adopt_or_end(s, lock);
	return r < 0 ? r : client_open(c, s);
}

int client_revive(struct client *c, const struct state *s)
{
	return until_answered(c, s, revive);
}

static int open_adopted(struct client *c, const struct state *s)
{
	int r = client_open(c, s);

	if (r != CLIENT_GONE)
		return r;
	r = adopt(s);
	return r < 0 ? r : r == ADOPT_DONE ? client_open(c, s) : CLIENT_GONE;
}

int client_adopt(struct client *c, const struct state *s)
{
	return until_answered(c, s, open_adopted);
}

void client_close(struct client *c)
{
	fd_close(&c->fd);
}

static int wait_for(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	while (poll(&p, 1, -1) < 0)
		if (errno != EINTR)
			return fault(-errno, "poll");
	return 0;
}

int client_send_fds(
	struct client *c, uint16_t verb, const void *body, size_t len, const int *fds, size_t nfds)
{
	int r;

	c->tag++;
	while ((r = channel_send(c->fd, verb, c->tag, body, len, fds, nfds)) == -EAGAIN)
		if (wait_for(c->fd, POLLOUT) < 0)
			return -EIO;
	if (r == -EPIPE || r == -ECONNRESET)
		return CLIENT_GONE;
	return r < 0 ? fault(r, "send %s", verb_name(verb)) : CLIENT_DONE;
}

int client_send(struct client *c, uint16_t verb, const void *body, size_t len)
{
	return client_send_fds(c, verb, body, len, NULL, 0);
}

static void progress(const struct packet *p)
{
	struct client_progress text;

	memcpy(&text, p->body, sizeof(text));
	text.text[sizeof(text.text) - 1] = '\0';
	complain("%s (%.1f s)", text.text, (double)text.since_usec / (double)USEC_PER_SEC);
}

int client_recv(struct client *c, struct packet *p, int dontwait)
{
	for (;;) {
		int r = channel_recv(c->fd, p, dontwait);

		if (r == 0)
			return CLIENT_GONE;
		if (r == -EAGAIN)
			return r;
		if (r < 0 && r != -EBADMSG)
			return fault(r, "receive from the supervisor");
		if (r < 0 || !verb_check(FROM_SHIM, &p->h)) {
			packet_finish(p); /* of a later release: not for us */
			continue;
		}
		if (p->h.verb == CLIENT_EXECED)
			return CLIENT_DONE; /* the only one with a descriptor, and whoever gets it
					       has asked for it */
		packet_finish(p);
		if (p->h.verb != CLIENT_PROGRESS)
			return CLIENT_DONE;
		progress(p);
	}
}

int client_call(struct client *c, uint16_t verb, const void *body, size_t len, struct packet *p)
{
	int r = client_send(c, verb, body, len);

	do {
		if (r != CLIENT_DONE)
			return r;
		r = client_recv(c, p, 0);
	} while (r != CLIENT_DONE || p->h.tag != c->tag);
	return r;
}

int client_ask(struct client *c, uint16_t verb, const void *body, size_t len)
{
	struct packet p;
	struct reply reply;
	int r = client_call(c, verb, body, len, &p);

	if (r != CLIENT_DONE)
		return r;
	if (p.h.verb != CLIENT_REPLY)
		return fault_plain(
			-EPROTO, "%s answered by %s", verb_name(verb), verb_name(p.h.verb));
	memcpy(&reply, p.body, sizeof(reply));
	reply.text[sizeof(reply.text) - 1] = '\0';
	if (reply.err == 0)
		return CLIENT_DONE;
	return fault_plain(reply.err < 0 ? reply.err : -EIO, "%s",
		reply.text[0] ? reply.text : strerror(-reply.err));
}

int client_started(struct client *c, struct packet *p)
{
	int r = CLIENT_DONE;

	while (r == CLIENT_DONE) {
		r = client_recv(c, p, 0);
		if (r == CLIENT_DONE &&
			(p->h.verb == CLIENT_STARTED || p->h.verb == CLIENT_FAILED ||
				p->h.verb == CLIENT_EXITED))
			break;
	}
	return r;
}

int client_ready(struct client *c, struct packet *p)
{
	int r = CLIENT_DONE;

	while (r == CLIENT_DONE) {
		r = client_recv(c, p, 0);
		if (r == CLIENT_DONE && (p->h.verb == CLIENT_READY || p->h.verb == CLIENT_EXITED))
			break;
	}
	return r;
}

/* The news of the end waits for no output. The supervisor leaves once it has written that, and so
 * it is all there for whoever looks after us. */
static int await_output(struct client *c, struct packet *p, struct exit_info *ret)
{
	uint64_t until = now_mono() + OUTPUT_USEC, now;
	struct pollfd in = {.fd = c->fd, .events = POLLIN};

	while ((now = now_mono()) < until) {
		if (poll(&in, 1, (int)((until - now) / USEC_PER_MSEC) + 1) <= 0)
			continue;
		if (client_recv(c, p, 1) != CLIENT_DONE)
			break;
		if (p->h.verb == CLIENT_EXITED)
			memcpy(ret, p->body, sizeof(*ret));
	}
	return CLIENT_DONE;
}

int client_wait(struct client *c, struct exit_info *ret)
{
	struct packet p;
	int r = client_send(c, CLIENT_WAIT, NULL, 0);

	while (r == CLIENT_DONE) {
		r = client_recv(c, &p, 0);
		if (r != CLIENT_DONE || p.h.verb != CLIENT_EXITED)
			continue;
		memcpy(ret, p.body, sizeof(*ret));
		return await_output(c, &p, ret);
	}
	return r;
}

int client_remove(struct client *c, bool force)
{
	struct u32_req req = {.value = force};
	struct packet p;
	int r = client_ask(c, CLIENT_REMOVE, &req, sizeof(req));

	while (r == CLIENT_DONE) {
		r = client_recv(c, &p, 0);
		/* a new shim does not know who asked, and would wait for us to read on */
		if (r == CLIENT_DONE && p.h.verb == CLIENT_TAKEOVER)
			r = client_send(c, CLIENT_REMOVE, &req, sizeof(req));
	}
	return r == CLIENT_GONE ? 0 : r;
}
