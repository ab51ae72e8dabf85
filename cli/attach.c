/* One poll loop over: the connection (what happens), a signalfd (what to pass on), the log
 * directory's watch (output has grown), standard input (with -i) and an output that was full.
 * Output is read from the raw files, never over the connection, so that a slow or dead terminal
 * touches nobody. */
#include "cli/attach.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/follow.h"
#include "cli/keys.h"
#include "cli/term.h"
#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/mem.h"

/* After the end: how long to wait for output that its end offset promises and nobody writes. */

/* A watch costs 12 ms at the end (follow.h), more than all the rest of a short command takes: until
 * it has lived this long, the files are looked at every few ms instead. */
#define WATCH_AFTER_USEC (100 * USEC_PER_MSEC)
#define WATCH_TICK_MS	 4

static const int passed_on[] = {
	SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGCONT};

enum slot {
	SLOT_CONN,
	SLOT_SIGNAL,
	SLOT_WATCH,
	SLOT_STDIN,
	SLOT_ANSWER,
	SLOT_STDOUT,
	SLOT_STDERR,
	SLOTS,
};

struct attach {
	struct client *client;
	const struct state *state;
	const struct attach_conf *conf;
	int sigfd, dirfd, watch;
	struct follow out[LOG_STREAMS];
	bool full[LOG_STREAMS];
	/* Of its own: a service that does not read holds up its connection, and signals must get
	 * through. */
	struct client in;
	uint64_t stdin_tag; /* frame without its answer yet, 0: none */
	uint64_t stdin_offset;
	uint64_t size_tag; /* what is typed after a new size finds it: one not set yet, 0: none */
	bool stdin_open, started, exited, gone;
	uint64_t held; /* bit n: signal n came before there was anybody to get it */
	unsigned interrupts;
	int status; /* >= 0: it is over, with this */
	struct exit_info exit;
	int patience;
	struct keys keys; /* on a terminal, with -i */
	bool detached;
	uint64_t watch_at;	  /* monotonic: when to begin */
	bool watching, unwatched; /* has it begun; could it not */
	uint64_t drain_until;
};

static void signal_set(sigset_t *set)
{
	sigemptyset(set);
	for (size_t i = 0; i < array_size(passed_on); i++)
		sigaddset(set, passed_on[i]);
	sigaddset(set, SIGWINCH);
}

void attach_block_signals(void)
{
	sigset_t set;

	signal_set(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTTOU, SIG_IGN); /* restoring the terminal from the background must not stop us */
}

bool attach_interrupted(void)
{
	static const int ends[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};
	struct sigaction action;
	sigset_t pending;

	sigpending(&pending);
	for (size_t i = 0; i < array_size(ends); i++) /* one that is ignored (nohup) ends nothing */
		if (sigismember(&pending, ends[i]) && sigaction(ends[i], NULL, &action) == 0 &&
			action.sa_handler != SIG_IGN)
			return true;
	return false;
}

void attach_unblock_signals(void)
{
	sigset_t set;

	signal_set(&set);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void winsize_send(struct attach *a)
{
	struct winsize_req size;

	if (a->conf->tty && a->started &&
		(term_size(STDOUT_FILENO, &size) || term_size(STDIN_FILENO, &size)) &&
		client_send(a->client, CLIENT_WINSIZE, &size, sizeof(size)) == CLIENT_DONE)
		a->size_tag = a->client->tag;
}

/* A service that ignores ^C, or that its policy brings back: the second one means stop. */
static void stop_send(struct attach *a)
{
	struct stop_req stop = {0};

	complain("stopping (it has the time of --stop-timeout)");
	client_send(a->client, CLIENT_STOP, &stop, sizeof(stop));
}

static void signal_send(struct attach *a, int signo)
{
	struct signal_req req = {.signo = (uint32_t)signo};

	client_send(a->client, CLIENT_SIGNAL, &req, sizeof(req));
}

static void on_signal(struct attach *a, int signo)
{
	if (signo == SIGWINCH) {
		winsize_send(a);
		return;
	}
	if (signo == SIGCONT)
		term_raw_again();
	if (a->conf->keep_signals && signo != SIGCONT) {
		a->detached = true;
		return;
	}
	if (signo == SIGINT && !a->conf->join && ++a->interrupts == 2)
		stop_send(a);
	else if (!a->started)
		a->held |= 1ULL << signo;
	else
		signal_send(a, signo);
}

static void read_signals(struct attach *a)
{
	struct signalfd_siginfo info;

	while (read(a->sigfd, &info, sizeof(info)) == sizeof(info))
		on_signal(a, (int)info.ssi_signo);
}

static void stdin_connect(struct attach *a)
{
	int r = a->conf->interactive ? client_open(&a->in, a->state) : CLIENT_DONE;

	a->stdin_open = a->conf->interactive && r == CLIENT_DONE;
	if (r != CLIENT_DONE)
		complain("warning: standard input is not passed on: %s",
			r < 0 ? fault_text() : "the supervisor is gone");
}

static void begin(struct attach *a)
{
	int r;

	a->started = true;
	stdin_connect(a);
	r = a->conf->tty && a->conf->interactive ? term_raw(STDIN_FILENO) : 0;
	if (r < 0)
		complain("warning: %s", fault_text());
	winsize_send(a);
	for (size_t i = 0; i < array_size(passed_on); i++)
		if (a->held & 1ULL << passed_on[i])
			signal_send(a, passed_on[i]);
}

static void on_started(struct attach *a, const struct packet *p)
{
	struct client_started started;

	memcpy(&started, p->body, sizeof(started));
	attach_warnings(&started);
	if (!a->started)
		begin(a);
	else
		winsize_send(a); /* a terminal of a new sandbox has no size yet */
}

static void on_packet(struct attach *a, const struct packet *p)
{
	struct launch_result failed;

	if (p->h.verb == CLIENT_TAKEOVER || p->h.tag == a->size_tag)
		a->size_tag = 0;
	if (p->h.verb == CLIENT_STARTED) {
		on_started(a, p);
	} else if (p->h.verb == CLIENT_FAILED) {
		memcpy(&failed, p->body, sizeof(failed));
		a->status = attach_failed(&failed);
	} else if (p->h.verb == CLIENT_EXITED) {
		memcpy(&a->exit, p->body, sizeof(a->exit));
		a->exited = true;
		a->drain_until = now_mono() + FOLLOW_DRAIN_MS * USEC_PER_MSEC;
		a->stdin_open = false;
	}
}

/* Who joins may come after another's end of input. */
static void on_answer(struct attach *a, const struct packet *p)
{
	struct reply reply;

	a->stdin_tag = 0;
	if (p->h.verb != CLIENT_REPLY || !a->conf->join || !a->stdin_open)
		return;
	memcpy(&reply, p->body, sizeof(reply));
	if (reply.err != -EPIPE)
		return;
	a->stdin_open = false;
	complain("warning: standard input is not passed on: it has ended, or nobody reads it");
}

/* The chunk was written, or is to count as written: a shim died over it. */
static void read_answers(struct attach *a)
{
	struct packet p;
	int r;

	while ((r = client_recv(&a->in, &p, 1)) == CLIENT_DONE)
		if (p.h.verb == CLIENT_TAKEOVER || p.h.tag == a->stdin_tag)
			on_answer(a, &p);
	if (r == -EAGAIN)
		return;
	client_close(&a->in);
	a->stdin_open = false;
}

static int read_packets(struct attach *a)
{
	struct packet p;
	int r;

	while ((r = client_recv(a->client, &p, 1)) == CLIENT_DONE)
		on_packet(a, &p);
	a->gone = r == CLIENT_GONE;
	return r == -EAGAIN ? 0 : r;
}

/* One frame at a time: what was not answered is in nobody's queue but its own. */
static void read_stdin(struct attach *a)
{
	struct {
		struct stdin_frame head;
		char bytes[STDIN_BYTES_MAX];
	} frame;
	char typed[STDIN_BYTES_MAX - KEYS_MAX];
	ssize_t n = read(STDIN_FILENO, typed, sizeof(typed));
	int r;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		a->stdin_open = false;
		if (!a->conf->tty) /* a terminal's end is a character */
			client_send(&a->in, CLIENT_STDIN_EOF, NULL, 0);
		return;
	}
	n = (ssize_t)keys_filter(&a->keys, typed, (size_t)n, frame.bytes, &a->detached);
	if (n == 0)
		return;
	frame.head = (struct stdin_frame){.offset = a->stdin_offset, .len = (uint32_t)n};
	a->stdin_offset += (uint64_t)n;
	r = client_send(&a->in, CLIENT_STDIN, &frame, sizeof(frame.head) + (size_t)n);
	a->stdin_tag = r == CLIENT_DONE ? a->in.tag : 0;
}

/* Everything on disk goes out; full[] says where the rest has to wait. True when it moved. */
static int pump(struct attach *a, bool *moved)
{
	*moved = false;
	for (int i = 0; i < LOG_STREAMS; i++) {
		uint64_t before = a->out[i].at;
		int r = follow_pump(&a->out[i]);

		if (r < 0)
			return r;
		a->full[i] = r == FOLLOW_FULL;
		*moved = *moved || a->out[i].at != before;
	}
	return 0;
}

static bool drained(const struct attach *a)
{
	return a->exited && a->out[LOG_STDOUT].at >= a->exit.stdout_end &&
	       a->out[LOG_STDERR].at >= a->exit.stderr_end;
}

/* The connection ended before the news did: nobody supervises any more, the journal has the truth.
 */
static int status_from_journal(struct attach *a)
{
	struct history h;
	bool stale;
	int r = state_history(a->state, &h, &stale);

	if (r == 0 && h.state == LIFE_DOWN)
		return attach_ended(&h.last, a->conf->command);
	if (r < 0)
		complain("%s", fault_text());
	complain(
		"the supervisor of \"%s\" is gone (holdfast ps tells what runs; holdfast stop or logs %s)",
		a->state->id, a->state->id);
	return CLI_BROKEN;
}

/* True when it has begun now: what came before nobody will tell. A host that allows no more watches
 * is looked at in ticks for ever. */
static bool watch_begins(struct attach *a)
{
	if (a->watching || (!a->exited && now_mono() < a->watch_at))
		return false;
	a->watching = true;
	a->unwatched = follow_watch_begin(a->watch, a->dirfd) < 0;
	return true;
}

static int wait_msec(struct attach *a, bool draining)
{
	if (watch_begins(a))
		return 0;
	if (!a->watching || a->unwatched)
		return WATCH_TICK_MS;
	return draining ? FOLLOW_DRAIN_MS : a->patience;
}

static bool takes_input(const struct attach *a)
{
	return a->stdin_open && !a->stdin_tag && (!a->size_tag || a->gone);
}

static int attach_wait(struct attach *a, struct pollfd *p)
{
	bool draining = a->exited && !a->full[LOG_STDOUT] && !a->full[LOG_STDERR];
	int timeout = wait_msec(a, draining), n;

	p[SLOT_CONN] = (struct pollfd){.fd = a->gone ? -1 : a->client->fd, .events = POLLIN};
	p[SLOT_SIGNAL] = (struct pollfd){.fd = a->sigfd, .events = POLLIN};
	p[SLOT_WATCH] = (struct pollfd){.fd = a->watch, .events = POLLIN};
	p[SLOT_STDIN] = (struct pollfd){.fd = takes_input(a) ? STDIN_FILENO : -1, .events = POLLIN};
	p[SLOT_ANSWER] = (struct pollfd){.fd = a->in.fd, .events = POLLIN};
	for (int i = 0; i < LOG_STREAMS; i++)
		p[SLOT_STDOUT + i] =
			(struct pollfd){.fd = a->full[i] ? a->out[i].out : -1, .events = POLLOUT};
	n = poll(p, SLOTS, timeout);
	if (n < 0 && errno != EINTR)
		return fault(-errno, "poll");
	if (n == 0 && draining && now_mono() >= a->drain_until) {
		complain("warning: the last output did not arrive in %d s", FOLLOW_DRAIN_MS / 1000);
		a->exit.stdout_end = a->exit.stderr_end = 0;
	}
	return n < 0 ? 0 : n;
}

static int attach_turn(struct attach *a)
{
	struct pollfd p[SLOTS];
	bool moved;
	int n = attach_wait(a, p), r = 0;

	if (n < 0)
		return n;
	if (n > 0 && (p[SLOT_SIGNAL].revents || p[SLOT_STDIN].revents))
		read_signals(a);
	if (n > 0 && p[SLOT_WATCH].revents)
		follow_drain(a->watch);
	if (n > 0 && p[SLOT_STDIN].revents && takes_input(a) && !a->detached)
		read_stdin(a);
	if (n > 0 && p[SLOT_ANSWER].revents)
		read_answers(a);
	if (n > 0 && p[SLOT_CONN].revents)
		r = read_packets(a);
	if (r < 0)
		return r;
	return pump(a, &moved);
}

/* What removes itself shall be gone when we return: the supervisor keeps it while somebody may
 * still read, so it is told that nobody does. */
static void await_removal(struct attach *a)
{
	bool failed = a->status >= 0 || (a->exited && attach_removes(&a->exit));
	bool removes =
		(failed && !a->conf->keep) || (a->conf->remove && (a->status >= 0 || a->exited));

	if (removes && !a->gone && client_remove(a->client, true) < 0)
		complain("warning: %s", fault_text());
}

/* A reader that left (EPIPE) knows that it did. */
static void tell_unwritten(const struct attach *a)
{
	for (int i = 0; i < LOG_STREAMS; i++)
		if (a->out[i].err && a->out[i].err != EPIPE)
			complain("warning: %s could not be written: %s%s",
				log_stream_name(a->out[i].stream), strerror(a->out[i].err),
				a->conf->remove ? "" : " (holdfast logs has it)");
}

/* It goes on without us; with --rm it is removed at its end all the same. */
static int detached(const struct attach *a)
{
	complain("detached: \"%s\" goes on (holdfast attach %s is the way back)", a->state->id,
		a->state->id);
	return CLI_OK;
}

static int attach_loop(struct attach *a)
{
	int r = 0;

	while (r == 0 && a->status < 0 && !a->detached && !drained(a) &&
		!(a->gone && !a->full[0] && !a->full[1]))
		r = attach_turn(a);
	term_restore();
	if (a->detached)
		return detached(a);
	await_removal(a);
	for (int i = 0; i < LOG_STREAMS; i++)
		if (a->out[i].lost)
			complain(
				"warning: %llu bytes of %s were rotated away before they were shown",
				(unsigned long long)a->out[i].lost,
				log_stream_name(a->out[i].stream));
	tell_unwritten(a);
	if (r < 0) {
		complain("%s", fault_text());
		return CLI_BROKEN;
	}
	if (a->status >= 0)
		return a->status;
	return a->exited ? attach_ended(&a->exit, a->conf->command) : status_from_journal(a);
}

static int attach_open(struct attach *a)
{
	sigset_t set;

	signal_set(&set);
	a->sigfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (a->sigfd < 0)
		return fault(-errno, "signalfd");
	a->dirfd = open(a->conf->log_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (a->dirfd < 0)
		return fault(-errno, "open %s", a->conf->log_dir);
	a->watch = follow_watch_open();
	if (a->watch < 0)
		return a->watch;
	a->watch_at = now_mono() + WATCH_AFTER_USEC;
	follow_init(&a->out[LOG_STDOUT], a->dirfd, LOG_STDOUT, STDOUT_FILENO);
	follow_init(&a->out[LOG_STDERR], a->dirfd, LOG_STDERR, STDERR_FILENO);
	for (int i = 0; a->conf->from_end && i < LOG_STREAMS; i++) {
		int64_t end = log_stream_end(a->dirfd, (enum log_stream)i);

		if (end < 0)
			return (int)end;
		a->out[i].at = (uint64_t)end;
	}
	return 0;
}

static void attach_close(struct attach *a)
{
	for (int i = 0; i < LOG_STREAMS; i++)
		follow_finish(&a->out[i]);
	client_close(&a->in);
	fd_close(&a->sigfd);
	fd_close(&a->dirfd);
	fd_close(&a->watch);
}

int attach_run(struct client *c, const struct state *s, const struct attach_conf *conf)
{
	struct attach a = {
		.client = c,
		.state = s,
		.conf = conf,
		.in = {.fd = -1},
		.sigfd = -1,
		.dirfd = -1,
		.watch = -1,
		.out = {{.fd = -1}, {.fd = -1}},
		.status = -1,
		.patience = follow_patience(),
	};
	int r = attach_open(&a), status;

	if (conf->tty && conf->interactive)
		keys_parse(&a.keys, conf->detach_keys ? conf->detach_keys : KEYS_DEFAULT);
	if (r == 0 && !conf->join)
		r = client_send(c, CLIENT_START, NULL, 0);
	if (r != CLIENT_DONE) {
		complain("%s", r < 0 ? fault_text() : "the supervisor is gone");
		attach_close(&a);
		return ATTACH_NOT_STARTED;
	}
	/* WAIT goes out behind START at once: an end right after the start has nobody to miss it */
	r = client_send(c, CLIENT_WAIT, NULL, 0);
	if (r < 0)
		complain("%s", fault_text());
	if (r == 0 && conf->join)
		begin(&a);
	status = r < 0 ? CLI_BROKEN : attach_loop(&a);
	attach_close(&a);
	return status;
}
