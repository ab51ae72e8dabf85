/* The shim's side of PID 1's channel. What init says are doorbells: what counts stands in the
 * shared memory, and all of it is treated as coming from a stranger. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"
#include "ipc/base/log.h"
#include "ipc/base/mem.h"
#include "ipc/base/proc.h"
#include "ipc/let_go.h"
#include "shim/shim.h"

#define REAP_WAIT_USEC USEC_PER_SEC
#define REAP_LOOK_USEC (2 * USEC_PER_MSEC)
#define SYNC_WAIT_USEC USEC_PER_SEC
#define DRAIN_MAX      256 /* packets a turn: PID 1 must not keep the loop to itself */

int link_init_send_fds(struct shim *s, uint16_t verb, uint64_t tag, const void *body, size_t len,
	const int *fds, size_t nfds)
{
	int r;

	if (!s->init.loop || s->init.fd < 0)
		return -ENOTCONN;
	r = channel_send(s->init.fd, verb, tag, body, len, fds, nfds);
	if (r < 0 && r != -EPIPE && r != -ECONNRESET)
		log_warn("init: %s: %s", verb_name(verb), strerror(-r));
	return r;
}

int link_init_send(struct shim *s, uint16_t verb, uint64_t tag, const void *body, size_t len)
{
	return link_init_send_fds(s, verb, tag, body, len, NULL, 0);
}

void link_init_keep(struct shim *s, enum held_kind kind, uint64_t key, int fd)
{
	struct held name = {.kind = kind, .key = key};

	if (shim_has_init(s) && fd >= 0)
		link_init_send_fds(s, INIT_KEEP, 0, &name, sizeof(name), &fd, 1);
}

void link_init_unkeep(struct shim *s, enum held_kind kind, uint64_t key)
{
	struct held name = {.kind = kind, .key = key};

	if (shim_has_init(s))
		link_init_send(s, INIT_UNKEEP, 0, &name, sizeof(name));
}

static int keep_edge(void *ctx, enum held_kind kind, uint64_t key, int fd)
{
	link_init_keep(ctx, kind, key, fd);
	return 0;
}

void link_init_keep_edge(struct shim *s)
{
	takeover_each_edge(s, keep_edge, s);
}

int link_init_map(struct shim *s, int memfd)
{
	struct stat st;
	void *map;

	if (fstat(memfd, &st) < 0 || st.st_size < (off_t)SHARED_SIZE) {
		close(memfd);
		return fault_plain(-EBADMSG, "shared memory: too small");
	}
	map = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	if (map == MAP_FAILED) {
		close(memfd);
		return fault(-errno, "map the shared memory");
	}
	if (s->shared)
		munmap(s->shared, sizeof(struct shared));
	fd_close(&s->shared_fd);
	s->shared_fd = memfd;
	s->shared = map;
	return 0;
}

/* What init says --------------------------------------------------------------------------------
 */

static void on_hello(struct shim *s, struct packet *p)
{
	struct init_hello b;

	memcpy(&b, p->body, sizeof(b));
	if (!s->sync_tag)
		exits_read(s, b.head, UINT32_MAX);
}

static void sync_end(struct shim *s);
static void look(struct shim *s);

static void on_reply(struct shim *s, struct packet *p)
{
	struct reply r;

	memcpy(&r, p->body, sizeof(r));
	if (s->sync_tag && p->h.tag == s->sync_tag)
		sync_end(s);
	r.text[sizeof(r.text) - 1] = '\0';
	if (p->h.tag & ONCE_TAG) {
		clients_answered(s, p->h.tag, r.err, r.text);
		steer_answered(s, p->h.tag, r.err);
		overload_answered(s, p->h.tag, r.err);
		exec_answered(s, p->h.tag, r.err);
	}
	if (s->stop_tag && p->h.tag == s->stop_tag) {
		s->stop_tag = 0;
		loop_timer_cancel(&s->stop_timer);
	}
	notify_answered(s, p->h.tag);
	health_answered(s, p->h.tag);
	probes_exec_answered(s, p->h.tag, r.err);
	if (r.err < 0 && !shim_has_init(s)) {
		s->start_errno = -r.err;
		s->start_step = r.step;
	}
}

static void on_pipes(struct shim *s, struct packet *p)
{
	struct init_pipes b;

	memcpy(&b, p->body, sizeof(b));
	for (int i = 0; i < LOG_STREAMS; i++)
		output_pipe(s, (enum log_stream)i, b.run, packet_take_fd(p, (unsigned)i));
}

/* The terminal is one for all runs; the pipe behind it is held, so that bytes that have left the
 * terminal survive us. */
static void pump_terminal(struct shim *s, uint32_t run)
{
	struct pump_run r;

	if (s->tty < 0)
		return;
	if (s->tty_pipe[0] < 0) {
		if (pipe2(s->tty_pipe, O_CLOEXEC | O_NONBLOCK) < 0) {
			log_error("terminal: pipe: %s", strerror(errno));
			return;
		}
		link_keeper_hold(s, HELD_TTY_PIPE_RD, 0, s->tty_pipe[0]);
		link_keeper_hold(s, HELD_TTY_PIPE_WR, 0, s->tty_pipe[1]);
		link_init_keep(s, HELD_TTY_PIPE_RD, 0, s->tty_pipe[0]);
		link_init_keep(s, HELD_TTY_PIPE_WR, 0, s->tty_pipe[1]);
	}
	r = (struct pump_run){
		.run = run,
		.key = run,
		.fd = fcntl(s->tty_pipe[0], F_DUPFD_CLOEXEC, 0),
		.tty = fcntl(s->tty, F_DUPFD_CLOEXEC, 0),
		.tty_in = fcntl(s->tty_pipe[1], F_DUPFD_CLOEXEC, 0),
	};
	if (r.fd >= 0 && r.tty >= 0 && r.tty_in >= 0) {
		pump_add(&s->pump, LOG_STDOUT, r);
		return;
	}
	journal_warn(&s->journal, "terminal: no descriptors left: its output of run %u is not kept",
		run);
	fd_close(&r.fd);
	fd_close(&r.tty);
	fd_close(&r.tty_in);
}

void link_init_terminal(struct shim *s)
{
	if (s->shared && s->shared->run)
		pump_terminal(s, s->shared->run);
}

/* Takes over pidfd. */
static void started(struct shim *s, struct init_started b, int pidfd)
{
	struct rec_started rec;

	if (s->journal.now.last.run >= b.run) { /* its end is journalled already */
		close(pidfd);
		return;
	}
	pump_terminal(s, b.run);
	exits_read(s, UINT64_MAX, b.run); /* should a doorbell have been lost */
	s->service_pid = pidfd_pid(pidfd);
	close(pidfd);
	if (s->journal.now.run != b.run || s->journal.now.pid != s->service_pid) {
		rec = (struct rec_started){
			.pid = s->service_pid,
			.init_pid = s->journal.now.init_pid,
			.boot_usec = b.boot_usec,
		};
		journal_append(&s->journal, RECORD_STARTED, 0, b.run, &rec, sizeof(rec));
	}
	shim_event(s, LIFE_ON_STARTED);
}

static void on_started(struct shim *s, struct packet *p)
{
	int pidfd = packet_take_fd(p, 0);
	struct init_started b;

	memcpy(&b, p->body, sizeof(b));
	if (!s->sync_tag) {
		started(s, b, pidfd);
		return;
	}
	fd_close(&s->sync_pidfd);
	s->sync_started = b;
	s->sync_pidfd = pidfd;
}

static void on_record(struct shim *s, struct packet *p)
{
	struct u64_req b;

	memcpy(&b, p->body, sizeof(b));
	if (!s->sync_tag)
		exits_read(s, b.value, UINT32_MAX);
}

/* Synchronising -----------------------------------------------------------------------------------
 */

static uint64_t dropped(const struct shim *s)
{
	return s->shared ? __atomic_load_n(&s->shared->dropped, __ATOMIC_ACQUIRE) : 0;
}

bool link_init_missed(const struct shim *s)
{
	return shim_has_init(s) && s->init.loop && dropped(s) != s->dropped_seen;
}

/* The predecessor may have taken pipes off the channel and died with them, while later ones are
 * still in its queue. So nothing is drained and no exit is taken before init has told everything
 * again: else a later run's output would overtake an earlier one's. */
void link_init_sync(struct shim *s)
{
	if (!shim_has_init(s)) {
		link_init_drain(s);
		return;
	}
	pump_pause(&s->pump, true);
	s->dropped_seen = dropped(s);
	s->sync_tag = now_boot();
	loop_timer_set(&s->sync_timer, SYNC_WAIT_USEC);
	if (link_init_send(s, INIT_SYNC, s->sync_tag, NULL, 0) < 0)
		sync_end(s); /* it is gone: what is in the queue is all there is */
	link_init_drain(s);
}

/* A PID 1 that does not answer (it was stopped, perhaps) holds up no output for ever. */
static void on_sync_timer(struct loop_timer *t)
{
	struct shim *s = t->ctx;

	if (s->sync_tag)
		sync_end(s);
	else if (link_init_missed(s))
		link_init_sync(s);
}

/* In a turn of its own: whoever rings without end must not make us call ourselves without end. */
void link_init_catch_up(struct shim *s)
{
	if (!s->sync_tag && link_init_missed(s))
		loop_timer_set(&s->sync_timer, 0);
}

static void sync_end(struct shim *s)
{
	if (!s->sync_tag)
		return;
	s->sync_tag = 0;
	loop_timer_cancel(&s->sync_timer);
	if (s->sync_started.run && s->sync_started.run == s->shared->run)
		started(s, s->sync_started, fd_take(&s->sync_pidfd));
	fd_close(&s->sync_pidfd);
	s->sync_started.run = 0;
	exits_read(s, EXITS_ALL); /* while nothing moves it is plain where each run's output ends */
	pump_pause(&s->pump, false);
	output_settle(s);
	serve_changed(s);
	link_init_catch_up(s);
}

static void on_waiting(struct shim *s, struct packet *p)
{
	struct init_waiting b;

	memcpy(&b, p->body, sizeof(b));
	journal_append(&s->journal, RECORD_WAITING, 0, b.run, &b, sizeof(b));
	clients_progress(
		s, "%s: waiting for %u processes of run %u to die", s->settings.id, b.left, b.run);
}

static void on_execed(struct shim *s, struct packet *p)
{
	struct init_execed b;

	memcpy(&b, p->body, sizeof(b));
	if (probes_exec_is(b.id))
		probes_exec_begun(s, b.id, packet_take_fd(p, 0));
	else
		execs_begun(s, p);
}

static void on_bell(struct loop_io *io)
{
	struct shim *s = io->ctx;
	char bytes[256];
	ssize_t n = recv(io->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN))
		loop_io_finish(io);
	look(s);
}

/* From now on the channel is looked into when it rings. A stranger's descriptor: nothing that could
 * block, neither now nor when it is closed. */
static void on_bell_given(struct shim *s, struct packet *p)
{
	int fd = packet_take_fd(p, 0), domain;
	socklen_t len = sizeof(domain);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0 || domain != AF_UNIX) {
		let_go(&fd, 1);
		return;
	}
	loop_io_finish(&s->bell);
	loop_io_start(&s->bell, &s->loop, fd, on_bell, s);
}

static const struct {
	uint16_t verb;
	void (*handle)(struct shim *s, struct packet *p);
} handlers[] = {
	{INIT_HELLO, on_hello},
	{INIT_REPLY, on_reply},
	{INIT_PIPES, on_pipes},
	{INIT_STARTED, on_started},
	{INIT_RECORD, on_record},
	{INIT_WAITING, on_waiting},
	{INIT_EXECED, on_execed},
	{INIT_BELL, on_bell_given},
};

/* Without init the channel's other end is the service-to-be: it says why its exec failed, or the
 * exec closes it. A service may have ended before this is read. */
static void channel_closed(struct shim *s)
{
	sync_end(s);
	loop_io_finish(&s->init);
	loop_io_finish(&s->bell);
	clients_unanswered(s);
	steer_unanswered(s);
	exec_unanswered(s);
	if (!shim_has_init(s) && !s->start_errno && s->phase == PHASE_STARTING && s->shared)
		link_init_service_up(s);
	link_keeper_drop(s, HELD_INIT_CHANNEL, 0);
}

/* PID 1 has ended and all that it said is handled. Without init a service that was quick may be
 * told dead before its channel is told closed: it has run all the same. */
void link_init_ended(struct shim *s)
{
	if (!shim_has_init(s) && !s->start_errno && s->phase == PHASE_STARTING && s->shared)
		link_init_service_up(s);
	execs_lost(s);
	shim_event(s, LIFE_ON_INIT_GONE);
}

/* Without init: the service's exec has succeeded. */
void link_init_service_up(struct shim *s)
{
	struct rec_started rec;

	s->service_pid = s->journal.now.init_pid;
	s->shared->boot_started = now_boot();
	pump_terminal(s, s->shared->run);
	rec = (struct rec_started){
		.pid = s->service_pid,
		.init_pid = s->service_pid,
		.boot_usec = s->shared->boot_started,
	};
	journal_append(&s->journal, RECORD_STARTED, 0, s->shared->run, &rec, sizeof(rec));
	shim_event(s, LIFE_ON_STARTED);
}

bool link_init_drain(struct shim *s)
{
	struct packet p;
	int r;

	for (int n = 0; n < DRAIN_MAX && s->init.loop && s->init.fd >= 0; n++) {
		r = channel_recv(s->init.fd, &p, 1);
		if (r == -EAGAIN)
			return false;
		if (r > 0) {
			if (verb_check(FROM_INIT, &p.h))
				for (size_t i = 0; i < array_size(handlers); i++)
					if (handlers[i].verb == p.h.verb)
						handlers[i].handle(s, &p);
			packet_finish(&p);
		} else if (r != -EBADMSG) {
			channel_closed(s);
		}
	}
	return s->init.loop && s->init.fd >= 0;
}

/* Without a bell, or with more than a turn takes, the channel itself wakes. */
static void look(struct shim *s)
{
	bool more = link_init_drain(s);

	if (s->init.loop && s->init.fd >= 0)
		loop_io_want(&s->init, more || s->bell.fd < 0, false);
	link_init_catch_up(s);
}

static void on_channel(struct loop_io *io)
{
	look(io->ctx);
}

void link_init_attach(struct shim *s, int channel)
{
	loop_io_finish(&s->init);
	loop_io_finish(&s->bell);
	s->exits_acked = 0; /* another one has not heard of any */
	loop_io_start(&s->init, &s->loop, channel, on_channel, s);
}

/* The end of PID 1 ------------------------------------------------------------------------------
 */

/* Without init the service's status is PID 1's, and the kernel may know what nobody tells: a
 * stranger reaps in its own time, and only then there is a status. true: look again later. */
static bool ask_kernel(struct shim *s)
{
	int status, r;

	if (shim_has_init(s) || s->init_pidfd.fd < 0)
		return false;
	r = pidfd_exit_status(s->init_pidfd.fd, &status);
	if (r == 0) {
		s->init_end = (struct reaped){.status = status};
		s->init_status_known = true;
	}
	return r == -EAGAIN && now_mono() - s->dead_since < REAP_WAIT_USEC;
}

static void on_reap_timer(struct loop_timer *t)
{
	struct shim *s = t->ctx;

	if (ask_kernel(s)) {
		loop_timer_set(t, REAP_LOOK_USEC);
		return;
	}
	s->init_exited = true;
	while (link_init_drain(s))
		;
	exits_read(s, EXITS_ALL);
	link_init_ended(s);
}

static pid_t parent_of(pid_t pid)
{
	char path[32], text[512];
	const char *p;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (file_read_buf(AT_FDCWD, path, text, sizeof(text)) < 0)
		return -1;
	p = strrchr(text, ')');
	return p ? (pid_t)strtol(p + 4, NULL, 10) : -1; /* ") S PPID" */
}

/* The keeper reaps its child and tells the status. A PID 1 that outlived its keeper has a stranger
 * for parent: nobody will tell but the kernel. */
static void on_pidfd(struct loop_io *io)
{
	struct shim *s = io->ctx;

	loop_io_want(
		io, false, false); /* open still: should the keeper die now, its heir gets it */
	s->dead_since = now_mono();
	if (!s->init_exited)
		loop_timer_set(&s->reap_timer, s->init_is_keepers ? REAP_WAIT_USEC : 0);
}

void link_init_setup(struct shim *s)
{
	loop_timer_init(&s->reap_timer, &s->loop, on_reap_timer, s);
	loop_timer_init(&s->sync_timer, &s->loop, on_sync_timer, s);
}

void link_init_watch(struct shim *s, int pidfd)
{
	loop_io_finish(&s->init_pidfd);
	s->init_exited = s->init_status_known = false; /* what was told so far is of another */
	s->init_is_keepers = parent_of(pidfd_pid(pidfd)) == s->hello.keeper_pid;
	loop_io_start(&s->init_pidfd, &s->loop, pidfd, on_pidfd, s);
}

void link_init_forget(struct shim *s)
{
	static const enum held_kind kinds[] = {HELD_INIT_CHANNEL, HELD_INIT_PIDFD, HELD_TTY,
		HELD_TTY_PIPE_RD, HELD_TTY_PIPE_WR, HELD_STDIN};

	notify_end(s);
	probes_forget(s);
	pressure_end(s);
	for (size_t i = 0; i < array_size(kinds); i++)
		link_keeper_drop(s, kinds[i], 0);
	loop_io_finish(&s->init);
	loop_io_finish(&s->bell);
	clients_unanswered(s);
	steer_unanswered(s);
	exec_unanswered(s);
	loop_io_finish(&s->init_pidfd);
	loop_timer_cancel(&s->reap_timer);
	fd_close(&s->tty);
	fd_close(&s->tty_pipe[0]);
	fd_close(&s->tty_pipe[1]);
	fd_close(&s->stdin_fd);
	s->service_pid = 0;
}
