/* holdfast logs: the raw streams merged by their time index, stamped on reading. With -f it goes on
 * until the container is down and all of its output was shown. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/follow.h"
#include "cli/options.h"
#include "cli/state.h"
#include "cli/visible.h"
#include "cli/when.h"
#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/mem.h"
#include "ipc/base/parse.h"
#include "ipc/log_seek.h"
#include "ipc/logread.h"

#define TAIL_MAX 100000

struct logs {
	bool follow, stamps, raw, tail_set;
	uint64_t tail;
	uint64_t since, until; /* usec since 1970; 0: not given */
	const char *stream;
	const char *name;	    /* of several, which one: in front of each line */
	enum log_stream last;	    /* shown */
	bool mid_line[LOG_STREAMS]; /* the stream's last byte shown was no line end */
	bool shown[LOG_STREAMS];    /* out is a terminal: control bytes are made visible */
	struct visible visible[LOG_STREAMS];
	struct logread read;
	struct logread_piece piece;
};

static int set_tail(void *ctx, const struct option *o, const char *value)
{
	struct logs *logs = ctx;

	logs->tail_set = true;
	return parse_u64(option_shown(o), value, 0, TAIL_MAX, &logs->tail);
}

static int set_since(void *ctx, const struct option *o, const char *value)
{
	return when_parse(option_shown(o), value, &((struct logs *)ctx)->since);
}

static int set_until(void *ctx, const struct option *o, const char *value)
{
	return when_parse(option_shown(o), value, &((struct logs *)ctx)->until);
}

static int set_stream(void *ctx, const struct option *o, const char *value)
{
	if (strcmp(value, "stdout") != 0 && strcmp(value, "stderr") != 0)
		return option_bad(o, value, "use stdout or stderr");
	return option_text(ctx, o, value);
}

static const struct option rows[] = {
	{"follow", 'f', NULL, "go on until the container is down", option_flag,
		offsetof(struct logs, follow)},
	{"tail", 'n', "N", "only the last N lines (up to 100000)", set_tail, 0},
	{"timestamps", 't', NULL, "the time in front of each line", option_flag,
		offsetof(struct logs, stamps)},
	{"since", 's', "TIME", "only what came since: 10m, 2026-01-31T12:30:05Z", set_since, 0},
	{"until", 0, "TIME", "only what came until then", set_until, 0},
	{"stream", 0, "NAME", "only stdout, or only stderr", set_stream,
		offsetof(struct logs, stream)},
	{"raw", 0, NULL, "control characters as they are, also on a terminal", option_flag,
		offsetof(struct logs, raw)},
};

static const struct option_table table = {
	.usage = "holdfast logs [options] ID...",
	.about =
		"Shows what a container's service wrote; its stderr goes to stderr. Of several each line\n"
		"says whose it is.",
	.rows = rows,
	.len = array_size(rows),
	.mixed = true,
};

static FILE *file_of(enum log_stream s)
{
	return s == LOG_STDOUT ? stdout : stderr;
}

static void begin_line(const struct logs *logs, FILE *f, const struct log_index *when)
{
	char text[WHEN_TEXT];

	if (logs->name)
		fprintf(f, "%s | ", logs->name);
	if (!logs->stamps)
		return;
	when_text(text, when->real_usec);
	fprintf(f, "%s ", text);
}

static void put_byte(struct logs *logs, enum log_stream s, char c)
{
	char out[VISIBLE_MAX];

	if (logs->shown[s])
		fwrite(out, 1, visible_put(&logs->visible[s], c, out), file_of(s));
	else
		putc_unlocked(c, file_of(s));
}

/* Half a character, or a carriage return, that nothing followed; the next one's lines begin anew.
 */
static void put_rest(struct logs *logs)
{
	char out[VISIBLE_MAX];

	for (int i = 0; i < LOG_STREAMS; i++) {
		fwrite(out, 1, visible_flush(&logs->visible[i], out), file_of((enum log_stream)i));
		if (logs->name && logs->mid_line[i])
			putc('\n', file_of((enum log_stream)i));
	}
	fflush(stdout);
	fflush(stderr);
}

/* Of several, half a line waits for its other half: another's would come in between. */
static int flush(const struct logs *logs, enum log_stream s)
{
	return logs->name && logs->mid_line[s] ? 0 : fflush(file_of(s));
}

static void print_piece(struct logs *logs)
{
	const struct logread_piece *p = &logs->piece;
	FILE *f = file_of(p->stream);

	if (p->stream != logs->last)
		flush(logs, logs->last); /* both may be one pipe: 2>&1 keeps the order */
	logs->last = p->stream;
	if (p->rotated)
		complain("warning: %llu bytes of %s were rotated away before they were shown",
			(unsigned long long)p->rotated, log_stream_name(p->stream));
	if (p->dropped)
		complain("%llu bytes of %s were dropped here", (unsigned long long)p->dropped,
			log_stream_name(p->stream));
	if (!logs->stamps && !logs->name && !logs->shown[p->stream]) {
		fwrite(p->bytes, 1, p->len, f);
		return;
	}
	for (size_t i = 0; i < p->len; i++) {
		if (!logs->mid_line[p->stream])
			begin_line(logs, f, &p->when);
		logs->mid_line[p->stream] = p->bytes[i] != '\n';
		put_byte(logs, p->stream, p->bytes[i]);
	}
}

/* Prints all that is on disk; 0 or a fault. */
static int print_rest(struct logs *logs)
{
	int r, err;

	while ((r = logread_next(&logs->read, &logs->piece)) > 0)
		if (!logs->until || logs->piece.when.real_usec <= logs->until)
			print_piece(logs);
	err = flush(logs, LOG_STDOUT) ? errno : EIO;
	flush(logs, LOG_STDERR);
	if (r == 0 && ferror(stdout)) {
		clearerr(stdout); /* told here, once */
		return fault(-err, "write");
	}
	return r;
}

/* Where to begin. */
static int seek(struct logs *logs)
{
	const bool wanted[LOG_STREAMS] = {
		logs->read.s[LOG_STDOUT].wanted, logs->read.s[LOG_STDERR].wanted};
	uint64_t at[LOG_STREAMS] = {0};
	int r = 0;

	if (logs->since)
		r = log_seek_time(logs->read.dirfd, logs->since, at);
	if (r == 0 && logs->tail_set)
		r = log_seek_lines(logs->read.dirfd, wanted, logs->tail, UINT64_MAX, at);
	if (r == 0)
		logread_seek(&logs->read, at);
	return r;
}

static bool all_shown(const struct logs *logs, const struct exit_info *e)
{
	const struct logread_stream *s = logs->read.s;

	return (!s[LOG_STDOUT].wanted || s[LOG_STDOUT].at >= e->stdout_end) &&
	       (!s[LOG_STDERR].wanted || s[LOG_STDERR].at >= e->stderr_end);
}

/* Who reads us. That it has gone is told by poll: nobody need write anything for it. */
static int reader_of(const struct logs *logs)
{
	return logs->read.s[LOG_STDOUT].wanted ? STDOUT_FILENO : STDERR_FILENO;
}

static void end_with_reader(const struct pollfd *p)
{
	if (p->revents & (POLLERR | POLLHUP))
		raise(SIGPIPE);
}

/* DONE: it is down and shown. GONE: nobody is at the other end any more. */
static int follow_loop(struct logs *logs, struct client *c, int watch)
{
	struct exit_info e = {0};
	struct packet packet;
	bool exited = false;
	uint64_t until = 0;
	int r = print_rest(logs), n;

	while (r == 0 && c->fd >= 0 && !(exited && all_shown(logs, &e))) {
		struct pollfd p[3] = {{.fd = c->fd, .events = POLLIN},
			{.fd = watch, .events = POLLIN}, {.fd = reader_of(logs)}};

		n = poll(p, 3, exited ? 1000 : follow_patience());
		if (exited && now_mono() >= until) {
			complain("warning: the last output did not arrive in %d s",
				FOLLOW_DRAIN_MS / 1000);
			break;
		}
		if (n > 0)
			end_with_reader(&p[2]);
		follow_drain(watch);
		if (n > 0 && p[0].revents && (r = client_recv(c, &packet, 1)) == CLIENT_GONE)
			client_close(c);
		else if (n > 0 && p[0].revents && r == 0 && packet.h.verb == CLIENT_EXITED) {
			memcpy(&e, packet.body, sizeof(e));
			exited = true;
			until = now_mono() + FOLLOW_DRAIN_MS * USEC_PER_MSEC;
		}
		r = r == -EAGAIN || r == CLIENT_GONE ? 0 : r;
		if (r == 0)
			r = print_rest(logs);
	}
	if (r < 0 || exited)
		return r;
	return c->fd < 0 ? CLIENT_GONE : CLIENT_DONE;
}

/* One supervisor after the other, as they are made anew. GONE: there is none. */
static int follow_supervised(struct logs *logs, const struct state *s, int watch)
{
	struct client c = {.fd = -1};
	int r;

	while ((r = client_open(&c, s)) == CLIENT_DONE) {
		r = client_send(&c, CLIENT_WAIT, NULL, 0);
		if (r == CLIENT_DONE)
			r = follow_loop(logs, &c, watch);
		client_close(&c);
		if (r != CLIENT_GONE)
			break;
	}
	return r;
}

/* 0: it is down, or gone; a fault: it may go on, and nobody writes what it says. */
static int check_down(const struct state *s)
{
	struct history h;
	bool stale;
	int r = state_history(s, &h, &stale);

	if (!state_current(s))
		return 0;
	if (r < 0)
		return r;
	if (stale || h.state == LIFE_NEW || h.state == LIFE_DOWN || h.state == LIFE_REMOVED)
		return 0;
	return fault_plain(-EIO,
		"nobody supervises \"%s\": what it writes is not shown (holdfast adopt %s goes on with it)",
		s->id, s->id);
}

/* Shows what there is; waits for more only where a supervisor is there to write it. */
static int follow(struct logs *logs, const struct state *s)
{
	auto_fd watch = follow_watch(logs->read.dirfd);
	int r = watch < 0 ? watch : follow_supervised(logs, s, watch);

	if (r != CLIENT_GONE)
		return r;
	r = print_rest(logs);
	return r < 0 ? r : check_down(s);
}

static int show(struct logs *logs, const struct state *s)
{
	struct settings settings;
	auto_fd dir = -1;
	int r = settings_read(s->dirfd, &settings);

	if (r < 0)
		return r;
	dir = open(settings.log_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return fault(-errno, "open %s", settings.log_dir);
	logread_init(&logs->read, dir);
	if (logs->stream)
		logs->read.s[strcmp(logs->stream, "stdout") == 0 ? LOG_STDERR : LOG_STDOUT].wanted =
			false;
	r = seek(logs);
	if (r == 0)
		r = logs->follow ? follow(logs, s) : print_rest(logs);
	put_rest(logs);
	logread_finish(&logs->read);
	return r;
}

static int show_one(struct logs *logs, const struct state *s)
{
	int r = show(logs, s);

	if (r == 0)
		return CLI_OK;
	complain("%s", fault_text());
	return state_status(r);
}

/* Following waits: each in a process of its own, which ends with this one. */
static int follow_several(struct logs *logs, const struct state *s, int n)
{
	int status, worst = CLI_OK, deaf = 0;
	pid_t parent = getpid();

	for (int i = 0; i < n; i++) {
		pid_t pid = fork();

		if (pid < 0) {
			complain("fork: %s", strerror(errno));
			worst = CLI_BROKEN;
		}
		if (pid != 0)
			continue;
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		logs->name = s[i].id;
		return getppid() == parent ? show_one(logs, &s[i]) : CLI_BROKEN;
	}
	while (wait(&status) > 0) {
		int one = WIFEXITED(status) ? WEXITSTATUS(status) : CLI_BROKEN;

		worst = one > worst ? one : worst;
		deaf += WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE;
	}
	if (deaf)
		raise(SIGPIPE);
	return worst;
}

static int show_several(struct logs *logs, const struct state *s, int n)
{
	static struct logs given;
	int worst = CLI_OK;

	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	if (logs->follow)
		return follow_several(logs, s, n);
	given = *logs;
	for (int i = 0; i < n; i++) {
		int one;

		*logs = given;
		logs->name = s[i].id;
		one = show_one(logs, &s[i]);
		worst = one > worst ? one : worst;
	}
	return worst;
}

static bool among(const struct state *s, int n, const struct state *one)
{
	for (int i = 0; i < n; i++)
		if (strcmp(s[i].id, one->id) == 0)
			return true;
	return false;
}

/* All of them are there, or nothing is shown; each once, by whatever names. */
static int logs_of(struct logs *logs, char **ids, int n)
{
	struct state *s = calloc((size_t)n, sizeof(*s));
	int found = 0, r = s ? 0 : fault(-ENOMEM, "logs");
	int status;

	for (int i = 0; r == 0 && i < n; i++) {
		r = state_find(ids[i], &s[found]);
		if (r == 0 && among(s, found, &s[found]))
			state_close(&s[found]);
		else
			found += r == 0;
	}
	if (r < 0) {
		complain("%s", fault_text());
		status = state_status(r);
	} else
		status = found == 1 ? show_one(logs, s) : show_several(logs, s, found);
	for (int i = 0; i < found; i++)
		state_close(&s[i]);
	free(s);
	return status;
}

int command_logs(int argc, char **argv)
{
	static struct logs logs; /* holds a piece: too large for the stack */
	int first, r = options_parse(&table, &logs, argc, argv, &first);

	if (r == OPTIONS_HELP)
		return CLI_OK;
	if (r == OPTIONS_OK && argc == first)
		r = fault_plain(-EINVAL, "logs: which container? (%s)", table.usage);
	if (r < 0) {
		complain("%s", fault_text());
		return CLI_USAGE;
	}
	setvbuf(stderr, NULL, _IOLBF, BUFSIZ); /* one write for each byte otherwise */
	signal(SIGPIPE, SIG_DFL);	       /* `holdfast logs | head` ends as every tool does */
	for (int i = 0; i < LOG_STREAMS; i++)
		logs.shown[i] =
			!logs.raw && isatty(i == LOG_STDOUT ? STDOUT_FILENO : STDERR_FILENO);
	return logs_of(&logs, argv + first, argc - first);
}
