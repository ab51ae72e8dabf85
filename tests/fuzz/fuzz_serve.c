/* Clients of the API sockets, as many and as bad as they come, a journal that grows, an init that
 * answers, and shims that die: the real server behind them. What clients are sent is whole frames
 * of the right kinds. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/base/fd.h"
#include "ipc/proto/holdfast/v1/supervisor.pb-c.h"
#include "ipc/proto/ttrpc.pb-c.h"
#include "tests/fuzz/shim_rig.h"

#define CLIENTS	   4
#define OPS_MAX	   200
#define HEARD_MAX  (64u << 10)
#define REPLAY_TAG (1ULL << 63)

enum op { OP_SAY, OP_CALL, OP_TURN, OP_READ, OP_GROW, OP_ANSWER, OP_SUCCESSOR, OP_CLOSE, OPS };

static struct rig rig;

static struct client_end {
	int fd;
	struct held_conn peer;
	unsigned char heard[HEARD_MAX];
	size_t len;
} clients_ends[CLIENTS];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	for (int i = 0; i < CLIENTS; i++)
		clients_ends[i].fd = -1;
	rig_open(&rig);
	return 0;
}

static void connect_one(struct client_end *e, bool observe)
{
	static uint64_t id;
	int pair[2];

	claim(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	e->fd = pair[0];
	e->len = 0;
	e->peer = (struct held_conn){.id = ++id, .pid = getpid()};
	e->peer.socket = observe ? SOCKET_OBSERVE : SOCKET_CONTROL;
	serve_add(&rig.shim, e->peer, pair[1]);
}

/* A message of one of the methods that stream. */
static bool streamed(const unsigned char *at, size_t len)
{
	static const ProtobufCMessageDescriptor *const kinds[] = {
		&holdfast__v1__watch_response__descriptor,
		&holdfast__v1__logs_response__descriptor,
		&holdfast__v1__stats_response__descriptor,
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		void *m = msg_unpack(kinds[i], at, len);

		msg_free(m);
		if (m)
			return true;
	}
	return false;
}

static void whole_frame(const unsigned char *at, struct ttrpc_head h)
{
	Holdfast__Ttrpc__Response *r;

	if (h.type == TTRPC_RESPONSE) {
		r = msg_unpack(&holdfast__ttrpc__response__descriptor, at, h.length);
		claim(r && (!r->status || !r->status->code || r->payload.len == 0));
		msg_free(r);
	} else if (h.length > 0) {
		claim(streamed(at, h.length));
	}
}

static void hear(struct client_end *e)
{
	ssize_t n = recv(e->fd, e->heard + e->len, HEARD_MAX - e->len, MSG_DONTWAIT);
	size_t at = 0;

	e->len += n > 0 ? (size_t)n : 0;
	while (e->len - at >= TTRPC_HEAD) {
		struct ttrpc_head h = ttrpc_get(e->heard + at);

		claim(h.type == TTRPC_RESPONSE || h.type == TTRPC_DATA);
		claim(h.length <= TTRPC_FRAME_MAX - TTRPC_HEAD);
		if (e->len - at < TTRPC_HEAD + h.length)
			break;
		whole_frame(e->heard + at + TTRPC_HEAD, h);
		at += TTRPC_HEAD + h.length;
	}
	memmove(e->heard, e->heard + at, e->len - at);
	e->len -= at;
}

static void say(struct client_end *e, struct tape *t)
{
	size_t len;
	const uint8_t *p = tape_span(t, tape_byte(t), &len);

	if (len)
		send(e->fd, p, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* A whole request, of a method that there is: its message is the tape's. */
static void call(struct client_end *e, struct tape *t)
{
	const ProtobufCServiceDescriptor *s = &holdfast__v1__supervisor__descriptor;
	Holdfast__Ttrpc__Request r;
	unsigned char buf[1024];
	size_t len;

	holdfast__ttrpc__request__init(&r);
	r.service = (char *)(uintptr_t)s->name;
	r.method = (char *)(uintptr_t)s->methods[tape_byte(t) % s->n_methods].name;
	ttrpc_put(buf, (struct ttrpc_head){0});
	{
		struct ttrpc_head h = {.stream = tape_byte(t), .type = TTRPC_REQUEST};

		r.timeout_nano = h.stream & 128 ? 1000 : 0; /* over before the next turn */
		r.payload.data = (uint8_t *)(uintptr_t)tape_span(t, tape_byte(t), &len);
		r.payload.len = len;
		h.length = (uint32_t)protobuf_c_message_get_packed_size(&r.base);
		ttrpc_put(buf, h);
		len = TTRPC_HEAD + protobuf_c_message_pack(&r.base, buf + TTRPC_HEAD);
	}
	send(e->fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void grow(struct tape *t)
{
	struct exit_info e = {.run = tape_byte(t), .code = tape_byte(t), .count = 1};
	unsigned n = tape_byte(t);

	while (n--)
		journal_append(&rig.shim.journal, RECORD_EXITED, 0, e.run, &e, sizeof(e));
}

/* init's word on everything that it was asked. */
static void answer(struct tape *t)
{
	int err = tape_byte(t) & 1 ? -ESRCH : 0;

	for (unsigned i = 0; i < CALLS_MAX; i++) {
		const struct call *c = &rig.shim.calls.table->calls[i];
		uint64_t tag = REPLAY_TAG | (c->conn & INT32_MAX) << 32 | c->stream;

		if (c->conn && c->method == CALL_ASK)
			steer_answered(&rig.shim, tag, err);
		else if (c->conn && (c->method == CALL_EXEC || c->method == CALL_KILL_EXEC))
			exec_answered(&rig.shim, tag, err);
	}
	rig_drain(rig.init);
	rig_drain(rig.keeper);
}

/* The shim dies between two turns; the next one is told the same connections. */
static void successor(void)
{
	static struct calls_table kept;
	int fds[CLIENTS];
	struct shim *s = &rig.shim;

	for (int i = 0; i < CLIENTS; i++) {
		fds[i] = -1;
		for (struct conn *c = s->serve.first; c; c = c->next)
			if (c->peer.id == clients_ends[i].peer.id && !c->doomed)
				fds[i] = fcntl(c->io.fd, F_DUPFD_CLOEXEC, 0);
	}
	kept = *s->calls.table;
	while (s->serve.first) { /* without a word to anybody */
		struct conn *c = s->serve.first;

		s->serve.first = c->next;
		loop_timer_cancel(&c->deadline);
		loop_io_finish(&c->io);
		free(c->partial);
		free(c);
	}
	*s->calls.table = kept;
	for (int i = 0; i < CLIENTS; i++)
		if (fds[i] >= 0)
			serve_add(s, clients_ends[i].peer, fds[i]);
}

static void step(struct tape *t)
{
	uint8_t op = tape_byte(t);
	struct client_end *e = &clients_ends[op / OPS % CLIENTS];

	if (e->fd < 0)
		connect_one(e, op & 128);
	switch ((enum op)(op % OPS)) {
	case OP_SAY:
		say(e, t);
		break;
	case OP_CALL:
		call(e, t);
		break;
	case OP_TURN:
		rig_turn(&rig);
		break;
	case OP_READ:
		hear(e);
		break;
	case OP_GROW:
		grow(t);
		break;
	case OP_ANSWER:
		answer(t);
		break;
	case OP_SUCCESSOR:
		successor();
		break;
	case OP_CLOSE:
		fd_close(&e->fd);
		break;
	case OPS:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tape t = {data, size};

	rig_reset(&rig);
	for (int i = 0; i < OPS_MAX && t.left > 0; i++)
		step(&t);
	for (int i = 0; i < 4; i++) {
		rig_turn(&rig);
		for (int k = 0; k < CLIENTS; k++)
			if (clients_ends[k].fd >= 0)
				hear(&clients_ends[k]);
	}
	for (int i = 0; i < CLIENTS; i++)
		fd_close(&clients_ends[i].fd);
	return 0;
}
