/* holdfast logs: the raw streams merged by their time index, stamped on reading. With -f it goes on
 * until the container is down and all of its output was shown. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/follow.h"
#include "cli/logread.h"
#include "cli/options.h"
#include "cli/state.h"
#include "cli/visible.h"
#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/mem.h"
#include "ipc/base/parse.h"

#define TAIL_MAX 100000

struct logs {
	bool follow, stamps, raw, tail_set;
	uint64_t tail;
	const char *stream;
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
	{"stream", 0, "NAME", "only stdout, or only stderr", set_stream,
		offsetof(struct logs, stream)},
	{"raw", 0, NULL, "control characters as they are, also on a terminal", option_flag,
		offsetof(struct logs, raw)},
};

static const struct option_table table = {
	.usage = "holdfast logs [options] ID",
	.about = "Shows what a container's service wrote; its stderr goes to stderr.",
	.rows = rows,
	.len = array_size(rows),
	.mixed = true,
};

static FILE *file_of(enum log_stream s)
{
	return s == LOG_STDOUT ? stdout : stderr;
}

static void stamp(FILE *f, const struct log_index *when)
{
	time_t seconds = (time_t)(when->real_usec / USEC_PER_SEC);
	char text[40];
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	fprintf(f, "%s.%06uZ ", text, (unsigned)(when->real_usec % USEC_PER_SEC));
}

static void put_byte(struct logs *logs, enum log_stream s, char c)
{
	char out[VISIBLE_MAX];

	if (logs->shown[s])
		fwrite(out, 1, visible_put(&logs->visible[s], c, out), file_of(s));
	else
		putc_unlocked(c, file_of(s));
}

/* Half a character, or a carriage return, that nothing followed. */
static void put_rest(struct logs *logs)
{
	char out[VISIBLE_MAX];

	for (int i = 0; i < LOG_STREAMS; i++)
		fwrite(out, 1, visible_flush(&logs->visible[i], out), file_of((enum log_stream)i));
	fflush(stdout);
	fflush(stderr);
}

static void print_piece(struct logs *logs)
{
	const struct logread_piece *p = &logs->piece;
	FILE *f = file_of(p->stream);

	if (p->stream != logs->last)
		fflush(file_of(logs->last)); /* both may be one pipe: 2>&1 keeps the order */
	logs->last = p->stream;
	if (p->dropped)
		complain("%llu bytes of %s were dropped here", (unsigned long long)p->dropped,
			log_stream_name(p->stream));
	if (!logs->stamps && !logs->shown[p->stream]) {
		fwrite(p->bytes, 1, p->len, f);
		return;
	}
	for (size_t i = 0; i < p->len; i++) {
		if (logs->stamps && !logs->mid_line[p->stream])
			stamp(f, &p->when);
		logs->mid_line[p->stream] = p->bytes[i] != '\n';
		put_byte(logs, p->stream, p->bytes[i]);
	}
}

/* Prints all that is on disk; 0 or a fault. */
static int print_rest(struct logs *logs)
{
	int r, err;

	while ((r = logread_next(&logs->read, &logs->piece)) > 0)
		print_piece(logs);
	err = fflush(stdout) ? errno : EIO;
	fflush(stderr);
	if (r == 0 && ferror(stdout)) {
		clearerr(stdout); /* told here, once */
		return fault(-err, "write");
	}
	return r;
}

struct mark {
	uint64_t at[LOG_STREAMS];
};

/* Where the last n lines begin: every line's start goes round in a ring, as the pair of offsets at
 * which the merge stood. */
static int tail_find(struct logs *logs, struct mark *ring, size_t n, struct mark *ret)
{
	struct mark now = {0};
	bool mid[LOG_STREAMS] = {false};
	size_t lines = 0;
	int r;

	while ((r = logread_next(&logs->read, &logs->piece)) > 0) {
		const struct logread_piece *p = &logs->piece;

		now.at[p->stream] = p->at;
		for (size_t i = 0; i < p->len; i++, now.at[p->stream]++) {
			if (!mid[p->stream] && n)
				ring[lines++ % n] = now;
			mid[p->stream] = p->bytes[i] != '\n';
		}
	}
	*ret = lines == 0 || n == 0 ? now : lines < n ? ring[0] : ring[lines % n];
	return r;
}

static int tail_seek(struct logs *logs)
{
	auto_free struct mark *ring = NULL;
	struct mark start;
	int r;

	if (!logs->tail_set)
		return 0;
	ring = calloc(logs->tail + 1, sizeof(*ring));
	if (!ring)
		return fault(-ENOMEM, "--tail");
	r = tail_find(logs, ring, logs->tail, &start);
	if (r == 0)
		logread_seek(&logs->read, start.at);
	return r;
}

static bool all_shown(const struct logs *logs, const struct exit_info *e)
{
	const struct logread_stream *s = logs->read.s;

	return (!s[LOG_STDOUT].wanted || s[LOG_STDOUT].at >= e->stdout_end) &&
	       (!s[LOG_STDERR].wanted || s[LOG_STDERR].at >= e->stderr_end);
}

/* Until it is down and shown, or nobody writes any more. */
static int follow_loop(struct logs *logs, struct client *c, int watch)
{
	struct exit_info e = {0};
	struct packet packet;
	bool exited = false;
	int r = print_rest(logs), n;

	while (r == 0 && c->fd >= 0 && !(exited && all_shown(logs, &e))) {
		struct pollfd p[2] = {
			{.fd = c->fd, .events = POLLIN}, {.fd = watch, .events = POLLIN}};

		n = poll(p, 2, exited ? 1000 : follow_patience());
		if (n == 0 && exited)
			break;
		follow_drain(watch);
		if (n > 0 && p[0].revents && (r = client_recv(c, &packet, 1)) == CLIENT_GONE)
			client_close(c);
		else if (n > 0 && p[0].revents && r == 0 && packet.h.verb == CLIENT_EXITED) {
			memcpy(&e, packet.body, sizeof(e));
			exited = true;
		}
		r = r == -EAGAIN || r == CLIENT_GONE ? 0 : r;
		if (r == 0)
			r = print_rest(logs);
	}
	return r;
}

/* Shows what there is; waits for more only where a supervisor is there to write it. */
static int follow(struct logs *logs, const struct state *s)
{
	auto_fd watch = follow_watch(logs->read.dirfd);
	struct client c = {.fd = -1};
	int r = watch < 0 ? watch : client_open(&c, s);

	if (r == CLIENT_DONE)
		r = client_send(&c, CLIENT_WAIT, NULL, 0);
	if (r == CLIENT_GONE)
		client_close(&c);
	if (r >= 0)
		r = follow_loop(logs, &c, watch);
	client_close(&c);
	return r;
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
	r = tail_seek(logs);
	if (r == 0)
		r = logs->follow ? follow(logs, s) : print_rest(logs);
	put_rest(logs);
	logread_finish(&logs->read);
	return r;
}

int command_logs(int argc, char **argv)
{
	static struct logs logs; /* holds a piece: too large for the stack */
	struct state s = {.dirfd = -1};
	int first, r = options_parse(&table, &logs, argc, argv, &first);

	if (r == OPTIONS_HELP)
		return CLI_OK;
	if (r == OPTIONS_OK && argc - first != 1)
		r = fault_plain(-EINVAL, "logs: %s (%s)",
			first < argc ? "one container at a time" : "which container?", table.usage);
	if (r < 0) {
		complain("%s", fault_text());
		return CLI_USAGE;
	}
	setvbuf(stderr, NULL, _IOLBF, BUFSIZ); /* one write for each byte otherwise */
	signal(SIGPIPE, SIG_DFL);	       /* `holdfast logs | head` ends as every tool does */
	for (int i = 0; i < LOG_STREAMS; i++)
		logs.shown[i] =
			!logs.raw && isatty(i == LOG_STDOUT ? STDOUT_FILENO : STDERR_FILENO);
	r = state_find(argv[first], &s);
	if (r == 0)
		r = show(&logs, &s);
	state_close(&s);
	if (r == 0)
		return CLI_OK;
	complain("%s", fault_text());
	return CLI_FAILED;
}
