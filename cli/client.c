#include "cli/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/keeper_start.h"
#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"

#define OPEN_DEADLINE_USEC (10 * USEC_PER_SEC)
#define OPEN_STEP_MS	   5

/* The path of a state directory may be longer than sun_path: the way is through our descriptor. */
static int try_connect(const struct state *s)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	auto_fd fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/sock", s->dirfd);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	return fd_take(&fd);
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
			return fault(c->fd, "connect to the supervisor of %s for %d s", s->id,
				(int)(OPEN_DEADLINE_USEC / USEC_PER_SEC));
		poll(NULL, 0, OPEN_STEP_MS);
	}
}

int client_revive(struct client *c, const struct state *s)
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
	r = keeper_start(s, lock);
	return r < 0 ? r : client_open(c, s);
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

int client_send(struct client *c, uint16_t verb, const void *body, size_t len)
{
	int r;

	c->tag++;
	while ((r = channel_send(c->fd, verb, c->tag, body, len, NULL, 0)) == -EAGAIN)
		if (wait_for(c->fd, POLLOUT) < 0)
			return -EIO;
	if (r == -EPIPE || r == -ECONNRESET)
		return CLIENT_GONE;
	return r < 0 ? fault(r, "send %s", verb_name(verb)) : CLIENT_DONE;
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
		packet_finish(p); /* no verb for clients carries descriptors */
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

int client_wait(struct client *c, struct exit_info *ret)
{
	struct packet p;
	int r = client_send(c, CLIENT_WAIT, NULL, 0);

	while (r == CLIENT_DONE) {
		r = client_recv(c, &p, 0);
		if (r != CLIENT_DONE || p.h.verb != CLIENT_EXITED)
			continue;
		memcpy(ret, p.body, sizeof(*ret));
		return CLIENT_DONE;
	}
	return r;
}

int client_remove(struct client *c, bool force)
{
	struct u32_req req = {.value = force};
	struct packet p;
	int r = client_ask(c, CLIENT_REMOVE, &req, sizeof(req));

	while (r == CLIENT_DONE)
		r = client_recv(c, &p, 0);
	return r == CLIENT_GONE ? 0 : r;
}
