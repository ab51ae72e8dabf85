/* The shim's side of the keeper's channel. Whatever comes is handled one way, whether the keeper
 * says it while this shim boots or later. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/log.h"
#include "ipc/base/mem.h"
#include "shim/shim.h"

#define SEND_WAIT_MSEC 1000

int link_keeper_send(struct shim *s, uint16_t verb, const void *body, size_t len, int fd)
{
	struct pollfd p = {.fd = s->keeper.fd, .events = POLLOUT};
	int r;

	if (s->keeper.fd < 0)
		return -EPIPE;
	for (int i = 0; i < 2; i++) {
		r = channel_send(s->keeper.fd, verb, 0, body, len, &fd, fd >= 0 ? 1 : 0);
		if (r != -EAGAIN)
			break;
		poll(&p, 1, SEND_WAIT_MSEC); /* it answers in microseconds unless it was stopped */
	}
	if (r < 0)
		log_warn("keeper: %s: %s", verb_name(verb), strerror(-r));
	return r;
}

void link_keeper_hold(struct shim *s, enum held_kind kind, uint64_t key, int fd)
{
	struct held name = {.kind = kind, .key = key};

	link_keeper_send(s, KEEPER_HOLD, &name, sizeof(name), fd);
}

void link_keeper_drop(struct shim *s, enum held_kind kind, uint64_t key)
{
	struct held name = {.kind = kind, .key = key};

	link_keeper_send(s, KEEPER_DROP, &name, sizeof(name), -1);
}

void link_keeper_abort(struct shim *s)
{
	struct u64_req launch = {.value = s->launch_nonce};

	link_keeper_send(s, KEEPER_KILL, &launch, sizeof(launch), -1);
}

/* Held descriptors ------------------------------------------------------------------------------
 */

static void keep(int *slot, int fd)
{
	fd_close(slot);
	*slot = fd;
}

static void held_listener(struct shim *s, uint64_t key, int fd)
{
	if (key < SOCKETS)
		keep(&s->sockets[key], fd);
	else
		close(fd);
}

static void held_init_channel(struct shim *s, uint64_t key, int fd)
{
	link_init_attach(s, fd);
}

static void held_shared(struct shim *s, uint64_t key, int fd)
{
	if (link_init_map(s, fd) < 0)
		log_error("%s", fault_text());
}

static void held_pidfd(struct shim *s, uint64_t key, int fd)
{
	link_init_watch(s, fd);
}

static void nonblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0)
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

static void held_tty(struct shim *s, uint64_t key, int fd)
{
	nonblock(fd); /* the pump reads it without asking first */
	keep(&s->tty, fd);
}

static void held_stdin(struct shim *s, uint64_t key, int fd)
{
	nonblock(fd);
	keep(&s->stdin_fd, fd);
}

static void held_stdout(struct shim *s, uint64_t key, int fd)
{
	output_held(s, LOG_STDOUT, key, fd);
}

static void held_stderr(struct shim *s, uint64_t key, int fd)
{
	output_held(s, LOG_STDERR, key, fd);
}

static void held_calls(struct shim *s, uint64_t key, int fd)
{
	keep(&s->calls_held, fd);
}

static void held_rules(struct shim *s, uint64_t key, int fd)
{
	keep(&s->rules_held, fd);
}

static void held_spool(struct shim *s, uint64_t key, int fd)
{
	if (key < LOG_STREAMS)
		keep(&s->spools[key], fd);
	else
		close(fd);
}

static void held_tty_pipe_rd(struct shim *s, uint64_t key, int fd)
{
	keep(&s->tty_pipe[0], fd);
}

static void held_tty_pipe_wr(struct shim *s, uint64_t key, int fd)
{
	keep(&s->tty_pipe[1], fd);
}

static void (*const held_handlers[HELD_KINDS])(struct shim *s, uint64_t key, int fd) = {
	[HELD_LISTENER] = held_listener,
	[HELD_INIT_CHANNEL] = held_init_channel,
	[HELD_SHARED] = held_shared,
	[HELD_INIT_PIDFD] = held_pidfd,
	[HELD_TTY] = held_tty,
	[HELD_STDIN] = held_stdin,
	[HELD_STDOUT] = held_stdout,
	[HELD_STDERR] = held_stderr,
	[HELD_TTY_PIPE_RD] = held_tty_pipe_rd,
	[HELD_TTY_PIPE_WR] = held_tty_pipe_wr,
	[HELD_LISTEN] = listeners_held,
	[HELD_NOTIFY] = notify_held,
	[HELD_STORED] = notify_stored,
	[HELD_CALLS] = held_calls,
	[HELD_RULES] = held_rules,
	[HELD_EXEC] = exec_io_held,
	[HELD_EXEC_PID] = exec_alone_held,
	[HELD_PROBE] = probes_held,
	[HELD_ROOT] = probes_root_held,
	[HELD_PRESSURE] = pressure_held,
	[HELD_PRESSURE_CONN] = pressure_conn_held,
	[HELD_SPOOL] = held_spool,
};

/* What the keeper says --------------------------------------------------------------------------
 */

static void on_hello(struct shim *s, struct packet *p)
{
	memcpy(&s->hello, p->body, sizeof(s->hello));
}

static void on_held(struct shim *s, struct packet *p)
{
	struct held name;

	memcpy(&name, p->body, sizeof(name));
	if (name.kind < HELD_KINDS && held_handlers[name.kind])
		held_handlers[name.kind](s, name.key, packet_take_fd(p, 0));
}

static void on_conn(struct shim *s, struct packet *p)
{
	struct held_conn peer;

	memcpy(&peer, p->body, sizeof(peer));
	if (peer.socket == SOCKET_TOOL)
		clients_add(s, peer, packet_take_fd(p, 0), s->keeper.fd < 0);
	else if (s->calls.table)
		serve_add(s, peer, packet_take_fd(p, 0));
	else if (s->early_len < array_size(s->early)) {
		s->early[s->early_len].peer = peer;
		s->early[s->early_len++].fd = packet_take_fd(p, 0);
	}
}

/* init remembers execs by their ids, and whoever adopts finds no table of calls. */
static uint32_t newest_exec(const struct shim *s)
{
	uint32_t newest = 0;

	for (unsigned i = 0; s->shared && i < EXEC_SLOTS; i++) {
		uint32_t id = s->shared->execs[i].id;

		if ((id & EXEC_IS_PROBE) == EXEC_IS_API && (id & ~EXEC_IS_PROBE) > newest)
			newest = id & ~EXEC_IS_PROBE;
	}
	return newest;
}

/* Everything that is held is here: the table of calls with it, if there is one. */
static int open_api(struct shim *s)
{
	int r = serve_open(s, fd_take(&s->calls_held));

	if (r == 0 && s->calls.table->head.execs < newest_exec(s))
		s->calls.table->head.execs = newest_exec(s);
	exec_io_recover(s);
	exec_alone_recover(s);
	for (unsigned i = 0; r == 0 && i < s->early_len; i++)
		serve_add(s, s->early[i].peer, s->early[i].fd);
	return r;
}

static void on_launched(struct shim *s, struct packet *p)
{
	struct launch_result r;

	memcpy(&r, p->body, sizeof(r));
	r.text[sizeof(r.text) - 1] = r.step[sizeof(r.step) - 1] = '\0';
	if (r.nonce != s->launch_nonce)
		return; /* of an earlier launch, told again to a new shim */
	s->launched = r;
	shim_event(s, r.outcome == LAUNCH_OK ? LIFE_ON_LAUNCHED : LIFE_ON_LAUNCH_FAILED);
}

static void on_reaped(struct shim *s, struct packet *p)
{
	struct u64_req ack;
	struct reaped end;

	memcpy(&end, p->body, sizeof(end));
	ack.value = end.nonce;
	if (end.nonce == s->launch_nonce && !s->init_exited) {
		s->init_end = end;
		loop_timer_cancel(&s->reap_timer);
		s->init_exited = s->init_status_known = true;
		while (link_init_drain(s)) /* what it said comes before its end */
			;
		exits_read(s, EXITS_ALL);
		link_init_ended(s);
	}
	link_keeper_send(s, KEEPER_REAP_ACK, &ack, sizeof(ack), -1);
}

static void on_held_end(struct shim *s, struct packet *p)
{
}

static const struct {
	uint16_t verb;
	void (*handle)(struct shim *s, struct packet *p);
} handlers[] = {
	{KEEPER_HELLO, on_hello},
	{KEEPER_HELD, on_held},
	{KEEPER_HELD_END, on_held_end},
	{KEEPER_CONN, on_conn},
	{KEEPER_LAUNCHED, on_launched},
	{KEEPER_REAPED, on_reaped},
};

static void dispatch(struct shim *s, struct packet *p)
{
	if (verb_check(FROM_KEEPER, &p->h))
		for (size_t i = 0; i < array_size(handlers); i++)
			if (handlers[i].verb == p->h.verb)
				handlers[i].handle(s, p);
	packet_finish(p);
}

static void on_readable(struct loop_io *io)
{
	struct shim *s = io->ctx;
	struct packet p;
	int r;

	while (io->fd >= 0 && (r = channel_recv(io->fd, &p, 1)) != -EAGAIN) {
		if (r > 0) {
			dispatch(s, &p);
		} else if (r != -EBADMSG) {
			takeover_begin(s);
			return;
		}
	}
}

int link_keeper_sync(struct shim *s, int channel)
{
	struct packet p;
	bool end = false;
	int r;

	while (!end) {
		r = channel_recv(channel, &p, 0);
		if (r == -EBADMSG)
			continue;
		if (r <= 0)
			return fault(r < 0 ? r : -EPIPE, "keeper: its greeting");
		end = p.h.verb == KEEPER_HELD_END;
		dispatch(s, &p);
	}
	loop_io_start(&s->keeper, &s->loop, channel, on_readable, s);
	output_spools(s);
	return open_api(s);
}
