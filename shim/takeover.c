/* The keeper is dead. Everything it held, this shim holds too: it makes a new keeper, hands all
 * over, and leaves; the new keeper starts the next shim as its own child. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/log.h"
#include "ipc/base/mem.h"
#include "ipc/base/slice.h"
#include "ipc/fds.h"
#include "shim/shim.h"

#define FIRST_FD       3
#define SCRATCH_FD     64
#define READY_MSEC     5000
#define HANDOVER_BYTES (1 << 20) /* a connection's worth of packets each, for 150 descriptors */

struct heir {
	pid_t pid;
	int channel; /* on which it inherits */
	int ready;   /* 'R' when it has */
};

static void exec_keeper(struct shim *s, int ready, int inherit)
{
	const int give[] = {SHIM_FD_STATE, SHIM_FD_LOCK, SHIM_FD_SHIM_EXE, SHIM_FD_LAUNCH_EXE,
		SHIM_FD_KEEPER_EXE, SHIM_FD_INIT_EXE, ready, inherit};
	char *argv[] = {(char *)(uintptr_t) "holdfast-keeper", s->settings.id, NULL};
	int high[array_size(give)], exe = fcntl(SHIM_FD_KEEPER_EXE, F_DUPFD_CLOEXEC, SCRATCH_FD);

	for (size_t i = 0; i < array_size(give); i++)
		high[i] = fcntl(give[i], F_DUPFD_CLOEXEC, SCRATCH_FD);
	for (size_t i = 0; i < array_size(give); i++)
		if (dup2(high[i], FIRST_FD + (int)i) < 0)
			_exit(125);
	signal(SIGPIPE, SIG_DFL);
	slice_come_forward();
	execveat(exe, "", argv, environ, AT_EMPTY_PATH);
	_exit(125);
}

/* It is tried again each second: nothing of a try may stay. Leaves errno alone. */
static void close_pair(const int pair[2])
{
	int err = errno;

	close(pair[0]);
	close(pair[1]);
	errno = err;
}

static int spawn_keeper(struct shim *s, struct heir *h)
{
	int channel[2], ready[2], size = HANDOVER_BYTES;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel) < 0)
		return fault(-errno, "socketpair");
	if (pipe2(ready, O_CLOEXEC) < 0) {
		close_pair(channel);
		return fault(-errno, "pipe");
	}
	if (setsockopt(channel[0], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(channel[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	pid = fork();
	if (pid < 0) {
		close_pair(channel);
		close_pair(ready);
		return fault(-errno, "fork");
	}
	if (pid == 0)
		exec_keeper(s, ready[1], channel[1]);
	close(channel[1]);
	close(ready[1]);
	h->pid = pid;
	h->channel = channel[0];
	h->ready = ready[0];
	return 0;
}

static int give(struct heir *h, enum held_kind kind, uint64_t key, int fd)
{
	struct held name = {.kind = kind, .key = key};
	struct pollfd room = {.fd = h->channel, .events = POLLOUT};
	int r;

	if (fd < 0)
		return 0;
	while ((r = channel_send(h->channel, KEEPER_HOLD, 0, &name, sizeof(name), &fd, 1)) ==
		-EAGAIN)
		if (poll(&room, 1, READY_MSEC) <= 0)
			return fault(-ETIMEDOUT, "new keeper: does not take what it shall hold");
	return r < 0 ? fault(r, "new keeper: hand over") : 0;
}

static int give_output(struct shim *s, struct heir *h)
{
	static const enum held_kind kinds[LOG_STREAMS] = {HELD_STDOUT, HELD_STDERR};
	int r = 0;

	for (int i = 0; i < LOG_STREAMS; i++)
		for (unsigned k = 0; r == 0 && k < s->pump.streams[i].len; k++) {
			const struct pump_run *run = &s->pump.streams[i].runs[k];

			if (run->tty < 0)
				r = give(h, kinds[i], run->key, run->fd);
		}
	return r;
}

/* What the service is given, run after run. */
static int give_passed(struct shim *s, struct heir *h)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < LISTEN_MAX; i++)
		r = give(h, HELD_LISTEN, i, s->listeners[i]);
	for (unsigned i = 0; r == 0 && i < s->notify.count; i++)
		r = give(h, HELD_STORED, s->notify.stored[i].name.key, s->notify.stored[i].fd);
	return r;
}

static int give_exec(void *ctx, uint64_t key, int fd)
{
	return give(ctx, HELD_EXEC, key, fd);
}

static int give_exec_pid(void *ctx, uint64_t key, int fd)
{
	return give(ctx, HELD_EXEC_PID, key, fd);
}

static int give_edge(void *ctx, enum held_kind kind, uint64_t key, int fd)
{
	return give(ctx, kind, key, fd);
}

/* What the sandbox has at its edge and init has no use for. */
static int each_pressure(struct shim *s, held_each one, void *ctx)
{
	const struct pressure_feeds *f = &s->pressure;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < PRESSURE_OF; i++)
		r = one(ctx, HELD_PRESSURE, i, f->listeners[i].loop ? f->listeners[i].fd : -1);
	for (unsigned i = 0; r == 0 && f->conns && i < PRESSURE_CONNS; i++)
		if (f->conns[i].key)
			r = one(ctx, HELD_PRESSURE_CONN, f->conns[i].key, f->conns[i].io.fd);
	return r;
}

int takeover_each_edge(struct shim *s, held_each one, void *ctx)
{
	const struct {
		enum held_kind kind;
		int fd;
	} all[] = {
		{HELD_TTY_PIPE_RD, s->tty_pipe[0]},
		{HELD_TTY_PIPE_WR, s->tty_pipe[1]},
		{HELD_STDIN, s->stdin_fd},
		{HELD_NOTIFY, s->notify.io.loop ? s->notify.io.fd : -1},
		{HELD_ROOT, s->health.root},
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < array_size(all); i++)
		r = one(ctx, all[i].kind, 0, all[i].fd);
	for (unsigned i = 0; r == 0 && i < PROBES_MAX; i++)
		r = one(ctx, HELD_PROBE, i, probes_socket(s, i));
	return r == 0 ? each_pressure(s, one, ctx) : r;
}

static int give_clients(struct shim *s, struct heir *h)
{
	int r = 0;

	for (struct client *c = s->clients.first; c && r == 0; c = c->next)
		r = channel_send(
			h->channel, KEEPER_CONN, 0, &c->peer, sizeof(c->peer), &c->io.fd, 1);
	for (struct conn *c = s->serve.first; c && r == 0; c = c->next)
		r = channel_send(
			h->channel, KEEPER_CONN, 0, &c->peer, sizeof(c->peer), &c->io.fd, 1);
	return r < 0 ? fault(r, "new keeper: hand over a connection") : 0;
}

static int hand_over(struct shim *s, struct heir *h)
{
	const struct {
		enum held_kind kind;
		int fd;
	} all[] = {
		{HELD_CALLS, s->calls.fd},
		{HELD_RULES, s->overload ? s->overload->fd : -1},
		{HELD_SHARED, s->shared_fd},
		{HELD_INIT_CHANNEL, s->init.loop ? s->init.fd : -1},
		{HELD_INIT_PIDFD, s->init_pidfd.loop ? s->init_pidfd.fd : -1},
		{HELD_TTY, s->tty},
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < array_size(all); i++)
		r = give(h, all[i].kind, 0, all[i].fd);
	for (int i = 0; r == 0 && i < LOG_STREAMS; i++)
		r = give(h, HELD_SPOOL, (uint64_t)i, s->pump.streams[i].spool.fd);
	for (unsigned i = 0; r == 0 && i < SOCKETS; i++)
		r = give(h, HELD_LISTENER, i, s->sockets[i]);
	if (r == 0)
		r = give_output(s, h);
	if (r == 0)
		r = give_passed(s, h);
	if (r == 0)
		r = exec_io_each(s, give_exec, h);
	if (r == 0)
		r = exec_alone_each(s, give_exec_pid, h);
	if (r == 0)
		r = takeover_each_edge(s, give_edge, h);
	if (r == 0)
		r = give_clients(s, h);
	if (r == 0)
		r = channel_send(h->channel, KEEPER_READY, 0, NULL, 0, NULL, 0);
	return r;
}

static int wait_ready(const struct heir *h)
{
	struct pollfd p = {.fd = h->ready, .events = POLLIN};
	char byte;

	if (poll(&p, 1, READY_MSEC) <= 0 || read(h->ready, &byte, 1) != 1)
		return fault(-EPIPE, "new keeper: did not come up");
	return 0;
}

/* Not in time, but before it was killed: it has an heir of its own, who goes on. */
static bool was_ready(const struct heir *h)
{
	struct pollfd p = {.fd = h->ready, .events = POLLIN};
	char byte;

	return h->ready >= 0 && poll(&p, 1, 0) > 0 && read(h->ready, &byte, 1) == 1;
}

static void try_takeover(struct shim *s);

static void on_retry(struct loop_timer *t)
{
	try_takeover(t->ctx);
}

static void try_takeover(struct shim *s)
{
	struct heir h = {0, -1, -1};
	int r = spawn_keeper(s, &h);

	if (r == 0)
		r = hand_over(s, &h);
	if (r == 0)
		r = wait_ready(&h);
	if (r == 0)
		_exit(0); /* not one destructor: everything now belongs to the successor */
	log_error("%s", fault_text());
	if (h.pid > 0) { /* our child, not reaped: never two keepers */
		kill(h.pid, SIGKILL);
		waitpid(h.pid, NULL, 0);
		if (was_ready(&h))
			_exit(0); /* two pairs would supervise one container */
	}
	fd_close(&h.channel);
	fd_close(&h.ready);
	loop_timer_set(&s->takeover_timer, USEC_PER_SEC);
}

void takeover_setup(struct shim *s)
{
	loop_timer_init(&s->takeover_timer, &s->loop, on_retry, s);
}

void takeover_begin(struct shim *s)
{
	struct rec_shim rec = {.shim_pid = getpid(), .revivals = s->hello.revivals};

	loop_io_finish(&s->keeper);
	if (s->retired) {
		loop_stop(&s->loop);
		return;
	}
	loop_unguard(&s->loop); /* what follows may wait for a disk and for the new keeper, in one
				   turn */
	log_warn("the keeper is dead: making another");
	journal_append(&s->journal, RECORD_KEEPER, 0, s->journal.now.run, &rec, sizeof(rec));
	/* two pumps on one pipe would tear the stream: ours ends first */
	pump_halt(&s->pump);
	exec_io_halt(s);
	try_takeover(s);
}
