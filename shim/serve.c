#include "shim/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/log.h"
#include "ipc/base/mem.h"
#include "ipc/proto/ttrpc.pb-c.h"
#include "shim/peer.h"
#include "shim/shim.h"

#define FRAMES_A_TURN 16 /* of one connection: the loop is everybody's */
#define REST_USEC     (5 * USEC_PER_SEC)

/* What was peeked, and where refused bytes go. One request is looked at at a time. */
static unsigned char inbox[TTRPC_HEAD + SERVE_REQUEST_MAX];

static const struct serve_method *const services[] = {
	serve_supervisor_methods,
	serve_steer_methods,
};

/* Sending ---------------------------------------------------------------------------------------
 */

static void doom(struct conn *c)
{
	c->doomed = true;
	loop_io_want(
		&c->io, false, true); /* a shut socket is writable: closed in a turn of its own */
	shutdown(c->io.fd, SHUT_RDWR);
}

enum served serve_send(struct conn *c, const struct msg_frame *f)
{
	ssize_t n;

	if (c->doomed)
		return SERVED;
	n = send(c->io.fd, f->bytes, f->len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n == (ssize_t)f->len)
		return SERVED;
	if (n < 0 && errno == EAGAIN) {
		c->blocked = true;
		loop_io_want(&c->io, false, true);
		return SERVED_BLOCKED;
	}
	doom(c); /* gone; or a frame in part, which nobody can go on from */
	return SERVED;
}

enum served serve_error(struct conn *c, uint32_t stream, enum ttrpc_code code, const char *fmt, ...)
{
	struct msg_frame f;
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (msg_response(&f, stream, code, text, NULL) < 0)
		return SERVED;
	return serve_send(c, &f);
}

enum served serve_answer(struct conn *c, uint32_t stream, const ProtobufCMessage *m)
{
	struct msg_frame f;

	if (msg_response(&f, stream, TTRPC_OK, NULL, m) < 0)
		return serve_error(c, stream, TTRPC_INTERNAL,
			"the answer does not fit a frame of %u bytes", TTRPC_FRAME_MAX);
	return serve_send(c, &f);
}

/* Requests --------------------------------------------------------------------------------------
 */

static const struct serve_method *find_method(
	const char *service, const char *name, bool *service_known)
{
	*service_known = false;
	for (size_t i = 0; i < array_size(services); i++)
		for (const struct serve_method *m = services[i]; m->name; m++) {
			if (strcmp(m->service, service) != 0)
				continue;
			*service_known = true;
			if (strcmp(m->name, name) == 0)
				return m;
		}
	return NULL;
}

static enum served call(struct conn *c, uint32_t stream, const Holdfast__Ttrpc__Request *r)
{
	bool known;
	const struct serve_method *m = find_method(r->service, r->method, &known);
	enum served served;
	void *req;

	if (!m)
		return serve_error(c, stream, TTRPC_UNIMPLEMENTED, "%s %.100s",
			known ? "method" : "service", known ? r->method : r->service);
	if (m->changes && c->peer.socket != SOCKET_CONTROL)
		return serve_error(c, stream, TTRPC_PERMISSION_DENIED,
			"%s: not on the observe socket (use the control socket)", m->name);
	req = msg_unpack(m->request, r->payload.data, r->payload.len);
	if (!req)
		return serve_error(c, stream, TTRPC_INVALID_ARGUMENT,
			"%s: %zu bytes are no request of this method", m->name, r->payload.len);
	served = m->handle(c, stream, req);
	msg_free(req);
	return served;
}

static enum served request(struct conn *c, struct ttrpc_head h, const unsigned char *payload)
{
	Holdfast__Ttrpc__Request *r;
	enum served served;

	if (h.stream % 2 == 0)
		return serve_error(c, h.stream, TTRPC_INVALID_ARGUMENT,
			"stream %u: the ids of clients are odd", h.stream);
	if (h.stream <= c->entry->last_stream)
		return serve_error(c, h.stream, TTRPC_INVALID_ARGUMENT,
			"stream %u: not above the last one, %u", h.stream, c->entry->last_stream);
	r = msg_unpack(&holdfast__ttrpc__request__descriptor, payload, h.length);
	if (!r)
		return serve_error(c, h.stream, TTRPC_INVALID_ARGUMENT,
			"stream %u: %u bytes are no request", h.stream, h.length);
	served = call(c, h.stream, r);
	msg_free(r);
	if (served == SERVED)
		c->entry->last_stream = h.stream;
	return served;
}

static enum served frame(struct conn *c, const unsigned char *bytes)
{
	struct ttrpc_head h = ttrpc_get(bytes);

	switch (h.type) {
	case TTRPC_REQUEST:
		return request(c, h, bytes + TTRPC_HEAD);
	case TTRPC_DATA: /* no method takes a stream: a client may close its side twice */
	default:
		return SERVED;
	}
}

/* Receiving -------------------------------------------------------------------------------------
 */

/* false: all that there is has been taken. */
static bool skip(struct conn *c, uint64_t *bytes)
{
	size_t want = *bytes < sizeof(inbox) ? (size_t)*bytes : sizeof(inbox);
	ssize_t n = recv(c->io.fd, inbox, want, MSG_DONTWAIT);

	if (n > 0)
		*bytes -= (uint64_t)n;
	else if (n == 0 || errno != EAGAIN)
		doom(c);
	return n > 0;
}

static void partial_end(struct conn *c)
{
	free(c->partial);
	c->partial = NULL;
	c->entry->flags &= ~(uint32_t)CONN_PARTIAL;
	loop_timer_cancel(&c->deadline);
}

static void on_deadline(struct loop_timer *t)
{
	doom(t->ctx);
}

/* A frame in pieces is taken off piece by piece: no socket holds more than a few of them. Should
 * this shim die meanwhile, its successor can't go on with the rest and closes the connection. */
static void partial_begin(struct conn *c, uint32_t size)
{
	c->partial = malloc(size);
	if (!c->partial) {
		doom(c);
		return;
	}
	c->partial_len = 0;
	c->partial_size = size;
	c->entry->flags |= CONN_PARTIAL;
	loop_timer_set(&c->deadline, REST_USEC);
}

/* The head first, then, knowing it, the rest. */
static bool partial_read(struct conn *c)
{
	ssize_t n = recv(c->io.fd, c->partial + c->partial_len, c->partial_size - c->partial_len,
		MSG_DONTWAIT);
	unsigned char *more;
	uint32_t length;

	if (n <= 0) {
		if (n == 0 || errno != EAGAIN)
			doom(c);
		return false;
	}
	c->partial_len += (uint32_t)n;
	if (c->partial_len != TTRPC_HEAD || c->partial_size != TTRPC_HEAD)
		return true;
	length = ttrpc_get(c->partial).length;
	if (length > SERVE_REQUEST_MAX || length == 0)
		return true;
	more = realloc(c->partial, TTRPC_HEAD + length);
	if (!more) {
		doom(c);
		return false;
	}
	c->partial = more;
	c->partial_size = TTRPC_HEAD + length;
	return true;
}

static enum served too_large(struct conn *c, struct ttrpc_head h, uint64_t drain)
{
	enum served served = serve_error(c, h.stream, TTRPC_RESOURCE_EXHAUSTED,
		"a frame of %u bytes: at most %u here", h.length, SERVE_REQUEST_MAX);

	if (served == SERVED)
		c->entry->drain = drain;
	return served;
}

/* false: nothing more can be done for it in this turn. */
static bool partial_turn(struct conn *c)
{
	struct ttrpc_head h;
	enum served served;

	if (c->partial_len < c->partial_size && !partial_read(c))
		return false;
	if (c->doomed || c->partial_len < c->partial_size)
		return !c->doomed;
	h = ttrpc_get(c->partial);
	served = h.length > SERVE_REQUEST_MAX ? too_large(c, h, h.length) : frame(c, c->partial);
	if (served == SERVED_BLOCKED)
		return false;
	partial_end(c);
	return true;
}

static bool whole_turn(struct conn *c)
{
	ssize_t n = recv(c->io.fd, inbox, sizeof(inbox), MSG_DONTWAIT | MSG_PEEK);
	struct ttrpc_head h = {0};
	uint64_t size;

	if (n == 0 || (n < 0 && errno != EAGAIN))
		doom(c);
	if (n <= 0)
		return false;
	if ((size_t)n >= TTRPC_HEAD)
		h = ttrpc_get(inbox);
	size = TTRPC_HEAD + (uint64_t)h.length;
	if ((size_t)n >= TTRPC_HEAD && h.length > SERVE_REQUEST_MAX)
		return too_large(c, h, size) == SERVED;
	if ((size_t)n < size) {
		partial_begin(c, (size_t)n < TTRPC_HEAD ? TTRPC_HEAD : (uint32_t)size);
		return !c->doomed;
	}
	if (frame(c, inbox) == SERVED_BLOCKED)
		return false;
	while (size > 0 && skip(c, &size))
		;
	return !c->doomed;
}

static void receive(struct conn *c)
{
	for (int i = 0; i < FRAMES_A_TURN && !c->blocked && !c->doomed; i++) {
		bool more = c->entry->drain ? skip(c, &c->entry->drain)
			    : c->partial    ? partial_turn(c)
					    : whole_turn(c);

		if (!more)
			return;
	}
}

/* Connections -----------------------------------------------------------------------------------
 */

static void conn_close(struct conn *c)
{
	struct shim *s = c->shim;

	for (struct conn **at = &s->serve.first; *at; at = &(*at)->next)
		if (*at == c) {
			*at = c->next;
			break;
		}
	calls_conn_drop(&s->calls, c->peer.id);
	link_keeper_drop(s, HELD_CONN, c->peer.id);
	loop_timer_cancel(&c->deadline);
	loop_io_finish(&c->io);
	free(c->partial);
	free(c);
}

static void push(struct conn *c)
{
	struct calls_table *t = c->shim->calls.table;

	for (unsigned i = 0; i < CALLS_MAX && !c->blocked && !c->doomed; i++) {
		if (t->calls[i].conn != c->peer.id)
			continue;
		if (t->calls[i].method == CALL_WATCH)
			watch_push(c, &t->calls[i]);
		else
			steer_settle(c, &t->calls[i]);
	}
}

static void on_conn(struct loop_io *io)
{
	struct conn *c = io->ctx;

	if (c->blocked) {
		c->blocked = false;
		loop_io_want(&c->io, true, false);
		push(c);
	}
	receive(c);
	if (c->doomed)
		conn_close(c);
}

static void on_push(struct loop_timer *t)
{
	struct shim *s = t->ctx;

	for (struct conn *c = s->serve.first; c; c = c->next)
		push(c);
}

void serve_changed(struct shim *s)
{
	if (s->serve.first)
		loop_timer_set(&s->serve.push_timer, 0);
}

void serve_setup(struct shim *s)
{
	s->calls.fd = -1;
	loop_timer_init(&s->serve.push_timer, &s->loop, on_push, s);
}

int serve_open(struct shim *s, int calls_fd)
{
	const struct held name = {.kind = HELD_CALLS};
	bool inherited;
	int r;

	if (s->calls.table) {
		close(calls_fd);
		return 0;
	}
	r = calls_open(&s->calls, calls_fd, &inherited);
	if (r == 0 && !inherited)
		r = link_keeper_send(s, KEEPER_HOLD, &name, sizeof(name), s->calls.fd);
	return r;
}

/* Who may come in: root of the host, and what an operator has let in by the mode of the socket (the
 * observe socket's group); never a process of the container itself. */
static const char *refusal(const struct shim *s, const struct conn *c)
{
	if (c->peer.socket == SOCKET_CONTROL && c->peer.uid != 0)
		return "only root may use the control socket";
	if (peer_inside(c->io.fd, c->peer.pid, s->settings.cgroup))
		return "a process of the container itself may not";
	return NULL;
}

void serve_add(struct shim *s, struct held_conn peer, int fd)
{
	struct held name = {.kind = HELD_CONN, .key = peer.id};
	struct conn *c = calloc(1, sizeof(*c));
	const char *why = NULL;

	if (c && s->calls.table)
		c->entry = calls_conn(&s->calls, peer.id);
	if (!c || !c->entry) {
		close(fd);
		free(c);
		link_keeper_send(s, KEEPER_DROP, &name, sizeof(name), -1);
		return;
	}
	c->shim = s;
	c->peer = peer;
	c->next = s->serve.first;
	s->serve.first = c;
	loop_timer_init(&c->deadline, &s->loop, on_deadline, c);
	loop_io_start(&c->io, &s->loop, fd, on_conn, c);
	why = refusal(s, c);
	if (why) {
		log_warn("api: pid %d uid %u: refused: %s", peer.pid, peer.uid, why);
		serve_error(c, 1, TTRPC_PERMISSION_DENIED, "%s", why);
	}
	if (why || c->entry->flags & CONN_PARTIAL)
		doom(c);
	serve_changed(s); /* a predecessor's streams go on */
}

void serve_finish(struct shim *s)
{
	on_push(&s->serve.push_timer);
	loop_timer_cancel(&s->serve.push_timer);
	while (s->serve.first)
		conn_close(s->serve.first);
}
