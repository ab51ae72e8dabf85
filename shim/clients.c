#include "shim/clients.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <termios.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/log.h"
#include "ipc/base/mem.h"
#include "shim/peer.h"
#include "shim/shim.h"

/* Connections -----------------------------------------------------------------------------------
 */

/* true: so many wait for init that the request stays where it is, until one of them is over. */
static bool hold(struct client *c, uint64_t tag)
{
	c->held = !asks_begin(c->shim, client_ask_tag(c, tag));
	if (c->held)
		loop_io_want(&c->io, false, false);
	return c->held;
}

static void unhold(struct shim *s)
{
	for (struct client *c = s->clients.first; c; c = c->next) {
		if (!c->held)
			continue;
		c->held = false;
		loop_io_want(&c->io, true, false);
	}
}

static void client_close(struct client *c)
{
	struct shim *s = c->shim;

	for (struct client **at = &s->clients.first; *at; at = &(*at)->next)
		if (*at == c) {
			*at = c->next;
			break;
		}
	link_keeper_drop(s, HELD_CONN, c->peer.id);
	loop_io_finish(&c->io);
	free(c->stdin_chunk);
	free(c);
	unhold(s);
	retire_check(s);
}

/* Its queue is full: a client that does not read is dropped, nobody waits for it. */
static void client_doom(struct client *c)
{
	c->doomed = true;
	shutdown(c->io.fd, SHUT_RDWR); /* wakes its own watcher, which closes it */
}

void client_send(struct client *c, uint16_t verb, uint64_t tag, const void *body, size_t len)
{
	if (!c->doomed && channel_send(c->io.fd, verb, tag, body, len, NULL, 0) < 0)
		client_doom(c);
}

void client_send_fd(
	struct client *c, uint16_t verb, uint64_t tag, const void *body, size_t len, int fd)
{
	if (!c->doomed && channel_send(c->io.fd, verb, tag, body, len, &fd, 1) < 0)
		client_doom(c);
}

void client_reply(struct client *c, uint64_t tag, int err, const char *fmt, ...)
{
	struct reply r = {.err = err};
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r.text, sizeof(r.text), fmt, ap);
	va_end(ap);
	client_send(c, CLIENT_REPLY, tag, &r, sizeof(r));
}

static void done(struct client *c, uint64_t tag)
{
	client_reply(c, tag, 0, "%s", "");
}

void clients_broadcast(struct shim *s, uint16_t verb, const void *body, size_t len)
{
	for (struct client *c = s->clients.first; c; c = c->next)
		client_send(c, verb, 0, body, len);
}

void clients_progress(struct shim *s, const char *fmt, ...)
{
	struct client_progress p = {.since_usec = now_mono() - s->phase_since};
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p.text, sizeof(p.text), fmt, ap);
	va_end(ap);
	clients_broadcast(s, CLIENT_PROGRESS, &p, sizeof(p));
}

void clients_release(struct shim *s)
{
	for (const struct client *c = s->clients.first; c; c = c->next)
		shutdown(c->io.fd, SHUT_RDWR); /* what was said before can still be read */
}

bool clients_waiting(const struct shim *s)
{
	for (const struct client *c = s->clients.first; c; c = c->next)
		if (c->waits && !c->removes && !c->doomed)
			return true;
	return false;
}

/* Requests --------------------------------------------------------------------------------------
 */

static void on_start(struct client *c, const struct packet *p)
{
	struct shim *s = c->shim;
	struct client_started started;

	if (s->phase == PHASE_RUNNING) {
		shim_started_info(s, &started);
		client_send(c, CLIENT_STARTED, p->h.tag, &started, sizeof(started));
		if (shim_ready(s))
			client_send(c, CLIENT_READY, p->h.tag, NULL, 0);
		return;
	}
	shim_event(s, LIFE_ON_START); /* the answer is for everybody */
}

static void on_state(struct client *c, const struct packet *p)
{
	const struct shim *s = c->shim;
	const struct history *h = &s->journal.now;
	struct client_state st = {
		.state = h->state,
		.run = h->run,
		.pid = s->service_pid,
		.init_pid = h->init_pid,
		.shim_pid = s->pid,
		.keeper_pid = s->hello.keeper_pid,
		.restarts = s->shared ? s->shared->policy.restarts : h->restarts,
		.boot_started = h->boot_started,
		.last = h->last,
	};

	client_send(c, CLIENT_STATE_IS, p->h.tag, &st, sizeof(st));
}

/* init is asked, and the client is answered when init has answered. Until then its request stays in
 * the socket; a successor asks again under the same tag, and init does nothing twice. */
uint64_t client_ask_tag(const struct client *c, uint64_t tag)
{
	return ONCE_TAG | (c->peer.id & INT32_MAX) << 32 | (tag & UINT32_MAX);
}

void client_asked(struct client *c, uint64_t tag)
{
	c->asked = client_ask_tag(c, tag);
	c->asked_tag = tag;
	loop_io_want(&c->io, false, false);
}

bool client_has_asked(const struct client *c, uint64_t asked)
{
	return asked && c->asked == asked;
}

void client_settled(struct client *c)
{
	channel_skip(c->io.fd);
	asks_end(c->shim, c->asked);
	c->asked = 0;
	loop_io_want(&c->io, true, false);
	unhold(c->shim);
}

void clients_answered(struct shim *s, uint64_t asked, int err, const char *text)
{
	for (struct client *c = s->clients.first; c; c = c->next) {
		if (!client_has_asked(c, asked))
			continue;
		if (err < 0)
			client_reply(c, c->asked_tag, err, "%s: %.200s", s->settings.id, text);
		else
			done(c, c->asked_tag);
		client_settled(c);
		return;
	}
}

void clients_unanswered(struct shim *s)
{
	for (struct client *c = s->clients.first; c; c = c->next)
		clients_answered(s, c->asked, -ESRCH, "the container has ended");
}

static void on_signal(struct client *c, const struct packet *p)
{
	struct signal_req req;
	int r;

	memcpy(&req, p->body, sizeof(req));
	if (!stop_means(c->shim, req.signo) && hold(c, p->h.tag))
		return;
	r = c->reread && stop_signal_was_asked(c->shim, req.signo)
		    ? 0
		    : stop_signal(c->shim, req, client_ask_tag(c, p->h.tag));
	if (r == STOP_ASKED) {
		client_asked(c, p->h.tag);
		return;
	}
	asks_end(c->shim, client_ask_tag(c, p->h.tag));
	if (r < 0)
		client_reply(c, p->h.tag, r, "%s: signal %u: %s", c->shim->settings.id, req.signo,
			r == -ESRCH ? "the service is not running" : strerror(-r));
	else
		done(c, p->h.tag);
}

static void on_stop(struct client *c, const struct packet *p)
{
	struct stop_req req;

	memcpy(&req, p->body, sizeof(req));
	if (req.signo > 64) {
		client_reply(c, p->h.tag, -EINVAL, "stop: signal %u does not exist", req.signo);
		return;
	}
	/* a second one may mean something else to the service: "at once", for many */
	if (!c->reread || !stop_was_asked(c->shim, req))
		stop_begin(c->shim, req, CLIENT_STOP);
	done(c, p->h.tag);
}

/* A predecessor's, perhaps: the run that it has ended may be over by now, and this is the next. */
static bool heard_by_init(const struct shim *s, uint64_t tag)
{
	for (unsigned i = 0; s->shared && i < ONCE_SLOTS; i++)
		if (s->shared->once[i].tag == tag)
			return true;
	return false;
}

/* init's part of it: answered when init has answered. */
static void restart_by_init(struct client *c, const struct packet *p, struct stop_req *req)
{
	struct shim *s = c->shim;
	uint64_t tag = client_ask_tag(c, p->h.tag);

	if (!heard_by_init(s, tag))
		restart_note(s, *req);
	if (link_init_send(s, INIT_RESTART, tag, req, sizeof(*req)) == 0) {
		client_asked(c, p->h.tag);
		return;
	}
	asks_end(s, tag);
	client_reply(c, p->h.tag, -ESRCH, "%s: the container has ended", s->settings.id);
}

/* The new run itself is told of by CLIENT_STARTED. Where one is on its way already, it is that. */
static void on_restart(struct client *c, const struct packet *p)
{
	struct shim *s = c->shim;
	struct stop_req req;

	memcpy(&req, p->body, sizeof(req));
	if (req.signo > 64) {
		client_reply(c, p->h.tag, -EINVAL, "restart: signal %u does not exist", req.signo);
		return;
	}
	switch ((int)s->phase) {
	case PHASE_RUNNING:
	case PHASE_DELAY:
		if (shim_has_init(s) && hold(c, p->h.tag))
			return;
		overload_undo(s);
		pause_thaw(s);
		if (shim_has_init(s)) {
			restart_by_init(c, p, &req);
			return;
		}
		restart_without_init(s, req);
		break;
	case PHASE_LAUNCHING:
	case PHASE_STARTING:
		break;
	case PHASE_LEAVE_FRESH:
	case PHASE_CLEAN_FRESH:
		s->fresh_delay_usec = 0;
		break;
	case PHASE_FRESH_DELAY:
		loop_timer_set(&s->fresh_timer, 0);
		break;
	default:
		client_reply(c, p->h.tag, -ESRCH, "%s: is not running", s->settings.id);
		return;
	}
	done(c, p->h.tag);
}

static void on_wait(struct client *c, const struct packet *p)
{
	struct shim *s = c->shim;

	c->waits = true;
	if (s->phase == PHASE_DOWN)
		client_send(c, CLIENT_EXITED, p->h.tag, &s->journal.now.last,
			sizeof(s->journal.now.last));
}

static void on_winsize(struct client *c, const struct packet *p)
{
	struct winsize_req req;
	struct winsize w;

	memcpy(&req, p->body, sizeof(req));
	w = (struct winsize){
		.ws_row = req.rows,
		.ws_col = req.cols,
		.ws_xpixel = req.xpixel,
		.ws_ypixel = req.ypixel,
	};
	if (c->shim->tty < 0 || ioctl(c->shim->tty, TIOCSWINSZ, &w) < 0)
		client_reply(c, p->h.tag, -ENOTTY, "%s: has no terminal", c->shim->settings.id);
	else
		done(c, p->h.tag);
}

static void on_remove(struct client *c, const struct packet *p)
{
	struct shim *s = c->shim;
	struct u32_req req;

	memcpy(&req, p->body, sizeof(req));
	if (!req.value && s->phase != PHASE_DOWN) {
		client_reply(c, p->h.tag, -EBUSY, "%s: is running (stop it first, or use rm -f)",
			s->settings.id);
		return;
	}
	c->removes = true;
	retire_remove(s);
	done(c, p->h.tag);
	retire_check(s);
}

/* Standard input --------------------------------------------------------------------------------
 */

static void stdin_drop_chunk(struct client *c)
{
	free(c->stdin_chunk);
	c->stdin_chunk = NULL;
	loop_io_want(&c->io, true, false);
}

/* Writes what the service takes now; the answer goes out when all of the chunk is written. */
static void stdin_push(struct client *c)
{
	struct shim *s = c->shim;
	int fd = s->tty >= 0 ? s->tty : s->stdin_fd;
	ssize_t n =
		fd < 0 ? (errno = EPIPE, -1)
		       : write(fd, c->stdin_chunk + c->stdin_done, c->stdin_len - c->stdin_done);

	if (n > 0)
		c->stdin_done += (uint32_t)n;
	if (c->stdin_done == c->stdin_len) {
		done(c, c->stdin_tag);
		stdin_drop_chunk(c);
	} else if (n < 0 && errno != EAGAIN) {
		client_reply(
			c, c->stdin_tag, -errno, "%s: stdin: %s", s->settings.id, strerror(errno));
		stdin_drop_chunk(c);
	}
}

static void stdin_wait_for_room(struct shim *s);

static void on_stdin_room(struct loop_io *io)
{
	struct shim *s = io->ctx;

	loop_io_finish(io);
	for (struct client *c = s->clients.first; c; c = c->next)
		if (c->stdin_chunk)
			stdin_push(c);
	stdin_wait_for_room(s);
}

static void stdin_wait_for_room(struct shim *s)
{
	int fd = s->tty >= 0 ? s->tty : s->stdin_fd;
	struct loop_io *io = &s->clients.stdin_room;
	bool waiting = false;

	for (const struct client *c = s->clients.first; c; c = c->next)
		waiting = waiting || c->stdin_chunk;
	if (!waiting || fd < 0 || (io->loop && io->fd >= 0))
		return;
	fd = dup(fd); /* the watcher closes what it watches */
	if (fd < 0)
		return;
	fd_cloexec(fd, 1);
	loop_io_start(io, &s->loop, fd, on_stdin_room, s);
	loop_io_want(io, false, true);
}

static void on_stdin(struct client *c, const struct packet *p)
{
	struct stdin_frame frame;

	memcpy(&frame, p->body, sizeof(frame));
	if (frame.len != p->h.len - sizeof(frame)) {
		client_reply(c, p->h.tag, -EBADMSG, "stdin: a frame of %u bytes announced as %u",
			(unsigned)(p->h.len - sizeof(frame)), frame.len);
		return;
	}
	c->stdin_chunk = malloc(frame.len);
	if (!c->stdin_chunk) {
		client_reply(c, p->h.tag, -ENOMEM, "stdin: out of memory");
		return;
	}
	memcpy(c->stdin_chunk, p->body + sizeof(frame), frame.len);
	c->stdin_len = frame.len;
	c->stdin_done = 0;
	c->stdin_tag = p->h.tag;
	loop_io_want(&c->io, false, false); /* one chunk at a time */
	stdin_push(c);
	stdin_wait_for_room(c->shim);
}

static void on_stdin_eof(struct client *c, const struct packet *p)
{
	struct shim *s = c->shim;

	fd_close(&s->stdin_fd);
	link_init_unkeep(s, HELD_STDIN, 0); /* before the keeper's: a successor does it again */
	link_keeper_drop(s, HELD_STDIN, 0);
	done(c, p->h.tag);
}

/* ---------------------------------------------------------------------------------------------- */

static const struct {
	uint16_t verb;
	bool take_first; /* off the socket before it is done, not after */
	void (*handle)(struct client *c, const struct packet *p);
} handlers[] = {
	{CLIENT_START, false, on_start},
	{CLIENT_STATE, false, on_state},
	{CLIENT_SIGNAL, false, on_signal},
	{CLIENT_STOP, false, on_stop},
	{CLIENT_RESTART, false, on_restart},
	{CLIENT_WAIT, false, on_wait},
	{CLIENT_STDIN, true, on_stdin},
	{CLIENT_STDIN_EOF, false, on_stdin_eof},
	{CLIENT_WINSIZE, false, on_winsize},
	{CLIENT_REMOVE, false, on_remove},
	{CLIENT_EXEC, false, execs_ask},
	{CLIENT_EXEC_WAIT, false, execs_wait},
};

static void serve(struct client *c, const struct packet *p)
{
	size_t i = 0;

	while (i < array_size(handlers) && handlers[i].verb != p->h.verb)
		i++;
	if (i == array_size(handlers) || !verb_check(FROM_CLIENT, &p->h)) {
		channel_skip(c->io.fd);
		client_reply(c, p->h.tag, -ENOSYS, "%s: not understood by this version",
			verb_name(p->h.verb));
		return;
	}
	if (handlers[i].take_first)
		channel_skip(c->io.fd);
	handlers[i].handle(c, p);
	if (!c->held)
		c->reread = false;
	if (!handlers[i].take_first && !c->asked && !c->held)
		channel_skip(c->io.fd);
}

static void on_readable(struct loop_io *io)
{
	struct client *c = io->ctx;
	struct packet p;
	int r = channel_peek(io->fd, &p);

	/* one request a turn: no client can keep the loop to itself */
	if (r > 0) {
		serve(c, &p);
		packet_finish(&p);
	} else if (r == -EBADMSG) {
		channel_skip(io->fd);
	} else if (r != -EAGAIN) {
		c->doomed = true;
	}
	if (c->doomed)
		client_close(c);
}

/* A connection that waits is not listened to: whether its client has gone is asked when another one
 * comes. */
static void sweep(struct shim *s)
{
	struct client *next;

	for (struct client *c = s->clients.first; c; c = next) {
		struct pollfd p = {.fd = c->io.fd};

		next = c->next;
		if (c->asked && c->exec.command[0]) /* begun or not, its record names it */
			continue;
		if ((c->stdin_chunk || c->held || c->asked) && poll(&p, 1, 0) > 0)
			client_close(c);
	}
}

/* The directory lets root alone in; this is the second lock, and to a process of the container the
 * door. Whom a predecessor let in may have ended since. */
static bool may_come_in(const struct shim *s, const struct held_conn *peer, int fd, bool inherited)
{
	if (peer->uid != 0)
		return false;
	if (inherited && kill(peer->pid, 0) < 0)
		return true;
	return !peer_inside(fd, peer->pid, s->settings.cgroup);
}

void clients_add(struct shim *s, struct held_conn peer, int fd, bool inherited)
{
	struct client *c = calloc(1, sizeof(*c));
	struct held name = {.kind = HELD_CONN, .key = peer.id};

	sweep(s);
	if (!c || !may_come_in(s, &peer, fd, inherited)) {
		close(fd);
		free(c);
		link_keeper_send(s, KEEPER_DROP, &name, sizeof(name), -1);
		return;
	}
	c->shim = s;
	c->peer = peer;
	c->waits = c->reread = inherited; /* its request may have been taken by a predecessor */
	c->next = s->clients.first;
	s->clients.first = c;
	loop_io_start(&c->io, &s->loop, fd, on_readable, c);
	if (inherited)
		client_send(c, CLIENT_TAKEOVER, 0, NULL, 0);
}
