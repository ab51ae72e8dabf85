/* One poll loop over the connection, a signalfd and, with a terminal, its master and standard
 * input. Without a terminal the command has our own descriptors: nothing is copied. The process is
 * known by its pidfd, so signals go straight to it; how it ended init tells the supervisor, and
 * that one us. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "cli/attach.h"
#include "cli/command.h"
#include "cli/exec.h"
#include "cli/term.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/mem.h"
#include "ipc/base/proc.h"
#include "ipc/exec_plan.h"

static const int passed_on[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM};

enum slot { SLOT_CONN, SLOT_SIGNAL, SLOT_MASTER, SLOT_STDIN, SLOT_GONE, SLOTS };

struct session {
	struct client *client;
	const struct state *state;
	const struct exec *exec;
	int sigfd, pidfd, master, result;
	uint64_t held; /* bit n: signal n came before there was anybody to get it */
	struct keys keys;
	char typed[STDIN_BYTES_MAX + KEYS_MAX];
	size_t typed_len, typed_at;
	bool stdin_open, asked, lost, detached;
	int status; /* >= 0: it is over, with this */
};

static void signal_open(struct session *s)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < array_size(passed_on); i++)
		sigaddset(&set, passed_on[i]);
	sigaddset(&set, SIGWINCH);
	sigaddset(&set, SIGCONT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTTOU, SIG_IGN);
	s->sigfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void resize(const struct session *s)
{
	struct winsize_req from;
	struct winsize to;

	if (s->master < 0 || (!term_size(STDOUT_FILENO, &from) && !term_size(STDIN_FILENO, &from)))
		return;
	to = (struct winsize){from.rows, from.cols, from.xpixel, from.ypixel};
	ioctl(s->master, TIOCSWINSZ, &to);
}

static void on_signal(struct session *s, int signo)
{
	if (signo == SIGWINCH)
		resize(s);
	else if (signo == SIGCONT)
		term_raw_again();
	else if (s->pidfd >= 0)
		pidfd_send_signal(s->pidfd, signo, NULL, 0);
	else
		s->held |= 1ULL << signo;
}

static void read_signals(struct session *s)
{
	struct signalfd_siginfo info;

	while (read(s->sigfd, &info, sizeof(info)) == sizeof(info))
		on_signal(s, (int)info.ssi_signo);
}

static void begun(struct session *s, struct packet *p)
{
	fd_close(&s->pidfd);
	s->pidfd = packet_take_fd(p, 0);
	for (int signo = 1; s->held; signo++, s->held >>= 1)
		if (s->held & 2)
			pidfd_send_signal(s->pidfd, signo, NULL, 0);
}

static int ended(const struct session *s, const struct exec_end *e)
{
	struct exit_info x = {
		.flags = e->flags & (EXIT_START_FAILED | EXIT_UNKNOWN),
		.code = e->code,
		.signal = e->signal,
		.step = e->step,
		.errnum = e->errnum,
	};

	if (!(e->flags & EXIT_UNKNOWN))
		return attach_ended(&x, s->exec->argv[0]);
	complain("how \"%s\" ended is not known: nobody saw it", s->exec->argv[0]);
	return CLI_BROKEN;
}

static void on_packet(struct session *s, struct packet *p)
{
	struct exec_end e;
	struct reply r;

	if (p->h.verb == CLIENT_EXECED) {
		begun(s, p);
	} else if (p->h.verb == CLIENT_EXEC_ENDED) {
		memcpy(&e, p->body, sizeof(e));
		s->status = ended(s, &e);
	} else if (p->h.verb == CLIENT_TAKEOVER) {
		client_send(s->client, CLIENT_EXEC_WAIT, NULL, 0);
	} else if (p->h.verb == CLIENT_REPLY) {
		memcpy(&r, p->body, sizeof(r));
		r.text[sizeof(r.text) - 1] = '\0';
		if (r.err == 0)
			return; /* begun before, and over by now: its end is on its way */
		complain("%s", r.text);
		s->status = CLI_BROKEN;
	}
}

static void read_packets(struct session *s)
{
	struct packet p;
	int r = CLIENT_DONE;

	while (s->status < 0 && (r = client_recv(s->client, &p, 1)) == CLIENT_DONE) {
		on_packet(s, &p);
		packet_finish(&p);
	}
	if (r < 0 && r != -EAGAIN)
		complain("%s", fault_text());
	s->lost = s->status < 0 && r != CLIENT_DONE && r != -EAGAIN;
}

/* Nobody supervises any more. The kernel may know what nobody tells. */
static void on_gone(struct session *s)
{
	int status;

	s->status = CLI_BROKEN;
	if (s->pidfd < 0 || pidfd_exit_status(s->pidfd, &status) < 0)
		complain("the supervisor of \"%s\" is gone: how \"%s\" ended is not known",
			s->state->id, s->exec->argv[0]);
	else
		s->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* What is there goes out, at most one buffer a turn: signals and the end must get through. */
static bool read_master(struct session *s, int out)
{
	char buf[16384];
	ssize_t n = read(s->master, buf, sizeof(buf)), done = 0, w;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		fd_close(&s->master); /* its last user has closed it */
		return false;
	}
	while (done < n && (w = write(out, buf + done, (size_t)(n - done))) != 0) {
		if (w < 0 && errno != EINTR && errno != EAGAIN)
			break;
		done += w > 0 ? w : 0;
	}
	return true;
}

static void write_typed(struct session *s)
{
	ssize_t n = write(s->master, s->typed + s->typed_at, s->typed_len - s->typed_at);

	if (n > 0)
		s->typed_at += (size_t)n;
	if (s->typed_at == s->typed_len || (n < 0 && errno != EAGAIN && errno != EINTR))
		s->typed_at = s->typed_len = 0;
}

static void read_stdin(struct session *s)
{
	char buf[STDIN_BYTES_MAX];
	ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) { /* the terminal itself is gone: so are we, and the command's hangs up */
		s->stdin_open = false;
		s->status = 128 + SIGHUP;
		return;
	}
	s->typed_len = keys_filter(&s->keys, buf, (size_t)n, s->typed, &s->detached);
	s->typed_at = 0;
	write_typed(s);
}

static void turn(struct session *s)
{
	bool typed = s->typed_at < s->typed_len, in = s->stdin_open && s->master >= 0;
	struct pollfd p[SLOTS] = {
		[SLOT_CONN] = {.fd = s->lost ? -1 : s->client->fd, .events = POLLIN},
		[SLOT_SIGNAL] = {.fd = s->sigfd, .events = POLLIN},
		[SLOT_MASTER] = {.fd = s->master,
			.events = (short)(POLLIN | (typed ? POLLOUT : 0))},
		[SLOT_STDIN] = {.fd = in && !typed ? STDIN_FILENO : -1, .events = POLLIN},
		[SLOT_GONE] = {.fd = s->lost ? s->pidfd : -1, .events = POLLIN},
	};

	if (s->lost && s->pidfd < 0) {
		on_gone(s);
		return;
	}
	if (poll(p, SLOTS, -1) <= 0)
		return;
	/* first, and always: what is typed after a new size finds it */
	if (p[SLOT_SIGNAL].revents || p[SLOT_STDIN].revents)
		read_signals(s);
	if (p[SLOT_MASTER].revents & POLLOUT)
		write_typed(s);
	if (p[SLOT_MASTER].revents & (POLLIN | POLLHUP | POLLERR))
		read_master(s, STDOUT_FILENO);
	if (p[SLOT_STDIN].revents)
		read_stdin(s);
	if (p[SLOT_CONN].revents)
		read_packets(s);
	if (p[SLOT_GONE].revents)
		on_gone(s);
}

/* The command keeps its terminal, which ends with its master: a process that nobody waits for holds
 * that until the last user has left. */
static void hold_terminal(struct session *s)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct pollfd p = {.fd = s->master, .events = POLLIN};

	if (s->master < 0 || null < 0 || fork() != 0) {
		fd_close(&null);
		return;
	}
	setsid();
	client_close(s->client);
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	while (s->master >= 0)
		if (poll(&p, 1, -1) > 0)
			read_master(s, null);
	_exit(0);
}

/* -d: until it is known whether the command could be executed. */
static int detached(struct session *s)
{
	struct exec_failure f;
	struct exec_end e = {.flags = EXIT_START_FAILED};
	ssize_t n;

	while (s->status < 0 && s->pidfd < 0 && !s->lost)
		turn(s);
	if (s->status >= 0)
		return s->status;
	do
		n = read(s->result, &f, sizeof(f));
	while (n < 0 && errno == EINTR);
	if (n != sizeof(f)) {
		hold_terminal(s);
		return CLI_OK;
	}
	e.step = f.step;
	e.errnum = f.errnum;
	return ended(s, &e);
}

static int stay(struct session *s)
{
	if (s->exec->detach)
		return detached(s);
	while (s->status < 0 && !s->detached)
		turn(s);
	if (s->detached) {
		hold_terminal(s);
		term_restore();
		complain("detached: \"%s\" goes on", s->exec->argv[0]);
		return CLI_OK;
	}
	while (s->master >= 0 && read_master(s, STDOUT_FILENO))
		;
	term_restore();
	return s->status;
}

static int ask(struct session *s, int plan, const int stdio[3])
{
	struct exec_req req = {.flags = s->exec->tty ? EXEC_TTY : 0};
	int pipe[2], r;

	if (pipe2(pipe, O_CLOEXEC) < 0)
		return fault(-errno, "pipe");
	snprintf(req.command, sizeof(req.command), "%s", s->exec->argv[0]);
	r = client_send_fds(s->client, CLIENT_EXEC, &req, sizeof(req),
		(const int[]){plan, stdio[0], stdio[1], stdio[2], pipe[1]}, EXEC_FDS);
	close(pipe[1]);
	s->result = pipe[0];
	return r;
}

int exec_run(struct client *c, const struct state *s, const struct exec *x, int plan,
	const int stdio[3], int master)
{
	struct session it = {
		.client = c,
		.state = s,
		.exec = x,
		.sigfd = -1,
		.pidfd = -1,
		.master = master,
		.result = -1,
		.status = -1,
		.stdin_open = x->interactive,
	};
	int r, status = CLI_BROKEN;

	signal_open(&it);
	resize(&it);
	if (x->tty && x->interactive)
		keys_parse(&it.keys, x->detach_keys ? x->detach_keys : KEYS_DEFAULT);
	r = it.sigfd < 0 ? fault(-errno, "signalfd") : ask(&it, plan, stdio);
	close(plan);
	for (int i = 0; i < 3; i++)
		if (stdio[i] > STDERR_FILENO && (i == 0 || stdio[i] != stdio[i - 1]))
			close(stdio[i]);
	if (r == CLIENT_GONE)
		r = fault_plain(-ESRCH, "container \"%s\" is not running", s->id);
	if (r == 0 && x->tty && x->interactive)
		r = term_raw(STDIN_FILENO);
	if (r < 0)
		complain("%s", fault_text());
	else
		status = stay(&it);
	fd_close(&it.master);
	fd_close(&it.pidfd);
	fd_close(&it.sigfd);
	fd_close(&it.result);
	return status;
}
