#include "shim/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
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

#define FRAMES_A_TURN	16 /* of one connection: the loop is everybody's */
#define REST_USEC	(5 * USEC_PER_SEC)
#define PARTIAL_MAX	(512u << 10) /* bytes of frames in pieces, of all connections together */
#define PARTIAL_OBSERVE (PARTIAL_MAX / 2) /* the rest is for those who may change something */
#define TURN_USEC	200		  /* of one connection, unless one request takes longer */

/* What was peeked, and where refused bytes go. One request is looked at at a time. */
static unsigned char inbox[TTRPC_HEAD + SERVE_REQUEST_MAX];

/* What is being sent. Not on the stack, where it would be cleared each time. */
static struct msg_frame outbox;

static const struct serve_method *const services[] = {
	serve_supervisor_methods,
	serve_steer_methods,
	serve_post_mortem_methods,
	serve_logs_methods,
	serve_stats_methods,
	serve_change_methods,
	serve_exec_methods,
	serve_attach_methods,
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
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (msg_response(&outbox, stream, code, text, NULL) < 0)
		return SERVED;
	return serve_send(c, &outbox);
}

enum served serve_answer(struct conn *c, uint32_t stream, const ProtobufCMessage *m)
{
	if (msg_response(&outbox, stream, TTRPC_OK, NULL, m) < 0)
		return serve_error(c, stream, TTRPC_INTERNAL,
			"the answer does not fit a frame of %u bytes", TTRPC_FRAME_MAX);
	return serve_send(c, &outbox);
}

enum served serve_data(struct conn *c, uint32_t stream, const ProtobufCMessage *m)
{
	if (msg_data(&outbox, stream, m) < 0)
		return serve_error(c, stream, TTRPC_INTERNAL,
			"a message does not fit a frame of %u bytes", TTRPC_FRAME_MAX);
	return serve_send(c, &outbox);
}

/* In this order: who has heard that it is done may undo it, and that must not be done again. */
enum served serve_done_with(struct conn *c, uint32_t stream, const ProtobufCMessage *m)
{
	__atomic_store_n(&c->entry->done_stream, stream, __ATOMIC_RELEASE);
	return serve_answer(c, stream, m);
}

enum served serve_done(struct conn *c, uint32_t stream)
{
	return serve_done_with(c, stream, NULL);
}

/* Calls under way ------------------------------------------------------------------------------ */

static void late_arm(struct shim *s)
{
	uint64_t now = now_mono(), first = calls_deadline(&s->calls, now);

	if (first)
		loop_timer_set(&s->serve.late_timer, first - now);
	else
		loop_timer_cancel(&s->serve.late_timer);
}

enum served serve_begin(struct conn *c, uint32_t stream, enum call_method method, const char *name,
	struct call **ret)
{
	const char *why;

	*ret = calls_add(&c->shim->calls, c->peer.id, stream, method, &why);
	if (!*ret)
		return serve_error(c, stream, TTRPC_RESOURCE_EXHAUSTED, "%s: %s", name, why);
	(*ret)->deadline = c->timeout ? now_mono() + c->timeout : 0;
	if (c->timeout) {
		late_arm(c->shim);
		serve_changed(c->shim); /* one that has passed is no longer armed */
	}
	return SERVED;
}

/* Its client has given up, and says nothing: a call that nobody ends would stay for ever. */
static void give_up(struct conn *c, struct call *call)
{
	enum served served = serve_error(c, call->stream, TTRPC_DEADLINE_EXCEEDED,
		"not over within the time that the request allows");

	if (served == SERVED_BLOCKED)
		return;
	if (call->method == CALL_LOGS)
		logs_end(call);
	if (call->method == CALL_STDIN)
		calls_forget_chunk(&c->shim->calls, call);
	calls_drop(call);
}

static void push_call(struct conn *c, struct call *call)
{
	if (call->deadline && call->deadline <= now_mono())
		give_up(c, call);
	else if (call->method == CALL_WATCH)
		watch_push(c, call);
	else if (call->method == CALL_LOGS)
		logs_push(c, call);
	else if (call->method == CALL_STATS)
		stats_push(c, call);
	else if (call->method == CALL_ATTACH)
		attach_push(c, call);
	else if (call->method == CALL_STDIN)
		stdin_settle(c, call);
	else if (call->method >= CALL_EXEC && call->method <= CALL_KILL_EXEC)
		exec_settle(c, call);
	else
		steer_settle(c, call);
}

/* Each call in its turn: where the room ended last time, the next one begins. */
static void push(struct conn *c)
{
	struct calls_table *t = c->shim->calls.table;

	for (unsigned n = 0; n < CALLS_MAX && !c->blocked && !c->doomed; n++) {
		struct call *call = &t->calls[c->next_call++ % CALLS_MAX];

		if (call->conn == c->peer.id)
			push_call(c, call);
	}
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
	if (c->inherited && h.stream == c->entry->last_stream)
		return SERVED; /* all but taken off */
	if (h.stream <= c->entry->last_stream)
		return serve_error(c, h.stream, TTRPC_INVALID_ARGUMENT,
			"stream %u: not above the last one, %u", h.stream, c->entry->last_stream);
	if (h.stream == c->entry->done_stream)
		return serve_done(c, h.stream);
	r = msg_unpack(&holdfast__ttrpc__request__descriptor, payload, h.length);
	if (!r)
		return serve_error(c, h.stream, TTRPC_INVALID_ARGUMENT,
			"stream %u: %u bytes are no request", h.stream, h.length);
	c->timeout = r->timeout_nano > 0 ? ((uint64_t)r->timeout_nano + 999) / 1000 : 0;
	served = call(c, h.stream, r);
	msg_free(r);
	c->held = served == SERVED_LATER;
	if (served == SERVED)
		__atomic_store_n(&c->entry->last_stream, h.stream, __ATOMIC_RELEASE);
	return served;
}

static enum served frame(struct conn *c, const unsigned char *bytes)
{
	struct ttrpc_head h = ttrpc_get(bytes);
	enum served served = SERVED;

	/* TTRPC_DATA: no method takes a stream; a client may close its side twice */
	if (h.type == TTRPC_REQUEST)
		served = request(c, h, bytes + TTRPC_HEAD);
	if (served == SERVED)
		c->inherited = false;
	return served;
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
	if (!c->partial)
		return;
	c->shim->serve.partial_bytes -= c->partial_size;
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
	c->shim->serve.partial_bytes += size;
	c->entry->flags |= CONN_PARTIAL;
	loop_timer_set(&c->deadline, REST_USEC);
}

/* What so many slow clients would make us hold is refused them: see PARTIAL_MAX. */
static bool partial_room(const struct conn *c, uint32_t length)
{
	uint32_t most = c->peer.socket == SOCKET_OBSERVE ? PARTIAL_OBSERVE : PARTIAL_MAX;

	return c->shim->serve.partial_bytes + length <= most;
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
	if (length > SERVE_REQUEST_MAX || length == 0 || !partial_room(c, length))
		return true;
	more = realloc(c->partial, TTRPC_HEAD + length);
	if (!more) {
		doom(c);
		return false;
	}
	c->partial = more;
	c->partial_size = TTRPC_HEAD + length;
	c->shim->serve.partial_bytes += length;
	return true;
}

static enum served refuse_frame(struct conn *c, struct ttrpc_head h, uint64_t drain)
{
	enum served served = h.length > SERVE_REQUEST_MAX
				     ? serve_error(c, h.stream, TTRPC_RESOURCE_EXHAUSTED,
					       "a frame of %u bytes: at most %u here", h.length,
					       SERVE_REQUEST_MAX)
				     : serve_error(c, h.stream, TTRPC_RESOURCE_EXHAUSTED,
					       "a frame of %u bytes in pieces: too many of those "
					       "are on their way already (send it again, in one)",
					       h.length);

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
	loop_timer_cancel(&c->deadline);
	h = ttrpc_get(c->partial);
	served = c->partial_size < TTRPC_HEAD + (uint64_t)h.length ? refuse_frame(c, h, h.length)
								   : frame(c, c->partial);
	if (served != SERVED)
		return false;
	partial_end(c);
	return true;
}

static bool whole_turn(struct conn *c)
{
	ssize_t n = recv(c->io.fd, inbox, sizeof(inbox), MSG_DONTWAIT | MSG_PEEK);
	struct ttrpc_head h = {0};
	uint64_t size;
	bool more;

	if (n == 0 || (n < 0 && errno != EAGAIN))
		doom(c);
	if (n <= 0)
		return false;
	if ((size_t)n >= TTRPC_HEAD)
		h = ttrpc_get(inbox);
	size = TTRPC_HEAD + (uint64_t)h.length;
	if ((size_t)n >= TTRPC_HEAD && h.length > SERVE_REQUEST_MAX)
		return refuse_frame(c, h, size) == SERVED;
	if ((size_t)n < size) {
		if ((size_t)n >= TTRPC_HEAD && !partial_room(c, (uint32_t)size))
			return refuse_frame(c, h, size) == SERVED;
		partial_begin(c, (size_t)n < TTRPC_HEAD ? TTRPC_HEAD : (uint32_t)size);
		return !c->doomed;
	}
	more = (size_t)n > size; /* else the loop tells when there is */
	if (frame(c, inbox) != SERVED)
		return false;
	while (size > 0 && skip(c, &size))
		;
	return more && !c->doomed;
}

/* A connection that waits is not listened to: whether its client has gone is asked when another one
 * comes to wait, so that those who are gone are few. */
static void sweep(struct shim *s)
{
	for (struct conn *c = s->serve.first; c; c = c->next) {
		struct pollfd p = {.fd = c->io.fd};

		if (c->held && !c->doomed && poll(&p, 1, 0) > 0)
			doom(c);
	}
}

static void receive(struct conn *c)
{
	uint64_t until = now_mono() + TURN_USEC;

	for (int i = 0; i < FRAMES_A_TURN && !c->blocked && !c->held && !c->doomed; i++) {
		bool more = c->entry->drain ? skip(c, &c->entry->drain)
			    : c->partial    ? partial_turn(c)
					    : whole_turn(c);

		if (!more || now_mono() >= until)
			break;
	}
	if (!c->held)
		return;
	sweep(c->shim);
	loop_io_want(&c->io, false, c->blocked || c->doomed); /* nothing is looked at before */
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
	partial_end(c);
	calls_conn_drop(&s->calls, c->peer.id);
	logs_forget(c->peer.id);
	exec_io_read_on(s); /* it may have been the one that others wait for */
	link_keeper_drop(s, HELD_CONN, c->peer.id);
	loop_timer_cancel(&c->deadline);
	loop_io_finish(&c->io);
	free(c->warning);
	free(c);
	shim_settle(s);
}

static void on_conn(struct loop_io *io)
{
	struct conn *c = io->ctx;
	struct shim *s = c->shim;

	if (c->blocked) {
		c->blocked = false;
		loop_io_want(&c->io, true, false);
		receive(c); /* first: no stream, however much it has, stands before a request */
		push(c);
	} else {
		receive(c);
	}
	if (c->doomed)
		conn_close(c);
	retire_check(s); /* it may be the last who was behind */
}

void serve_push(struct loop_timer *t)
{
	struct shim *s = t->ctx;

	for (struct conn *c = s->serve.first; c; c = c->next) {
		push(c);
		if (!c->held || c->doomed)
			continue;
		c->held = false;
		loop_io_want(&c->io, !c->blocked, c->blocked);
		receive(c);
	}
	retire_check(s);
}

void serve_late(struct loop_timer *t)
{
	serve_push(t);
	late_arm(t->ctx);
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
	if (peer.socket == SOCKET_OBSERVE)
		c->entry->flags |= CONN_OBSERVE;
	calls_settle_begun(&s->calls, c->entry);
	c->inherited = c->entry->flags & CONN_ADMITTED;
	c->next = s->serve.first;
	s->serve.first = c;
	loop_timer_init(&c->deadline, &s->loop, on_deadline, c);
	loop_io_start(&c->io, &s->loop, fd, on_conn, c);
	why = c->entry->flags & CONN_ADMITTED ? NULL : refusal(s, c);
	if (!why)
		c->entry->flags |= CONN_ADMITTED;
	else {
		log_warn("api: pid %d uid %u: refused: %s", peer.pid, peer.uid, why);
		serve_error(c, 1, TTRPC_PERMISSION_DENIED, "%s", why);
	}
	/* how far a predecessor came with a frame in pieces, only it knew */
	if (why || c->entry->flags & CONN_PARTIAL || c->entry->drain)
		doom(c);
	steer_ask_again(s, peer.id);
	serve_changed(s); /* a predecessor's streams go on */
	late_arm(s);
}

void serve_finish(struct shim *s)
{
	exec_io_read_on(s);
	serve_push(&s->serve.push_timer);
	loop_timer_cancel(&s->serve.push_timer);
	loop_timer_cancel(&s->serve.follow_timer);
	loop_timer_cancel(&s->serve.late_timer);
	loop_timer_cancel(&s->serve.stats_timer);
	while (s->serve.first)
		conn_close(s->serve.first);
	loop_io_finish(&s->serve.stdin_room);
	exec_io_finish(s);
}
