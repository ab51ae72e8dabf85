/* holdfast events: what has happened to containers, merged by time; with -f also what happens from
 * now on, over the deaths of their supervisors. A cursor says where a reader goes on. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/event_line.h"
#include "cli/event_source.h"
#include "cli/options.h"
#include "cli/state.h"
#include "cli/when.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/mem.h"
#include "ipc/base/parse.h"

#define CURSORS_MAX 64
#define AGAIN_MS    1000 /* until one without a supervisor is asked again */

struct cursor {
	uint64_t instance; /* 0: of whichever container is named */
	uint64_t seq;
};

struct events {
	bool follow, all, json, show_cursor;
	struct cursor cursors[CURSORS_MAX];
	size_t cursors_len;
	uint64_t since, until; /* usec since 1970 */
	struct event_source **sources;
	size_t len;
	int watch; /* inotify */
	bool output_failed;
	bool failed; /* a journal could not be read, and that was told */
};

static bool digits(const char *text)
{
	return *text && strspn(text, "0123456789") == strlen(text);
}

static int add_cursor(
	struct events *ev, const struct option *o, const char *instance, const char *seq)
{
	struct cursor c = {0};
	int r = 0;

	if (ev->cursors_len == CURSORS_MAX)
		return option_bad(o, seq, "more than 64 cursors (leave some out)");
	if (instance)
		r = parse_u64(option_shown(o), instance, 1, UINT64_MAX, &c.instance);
	if (r == 0)
		r = parse_u64(option_shown(o), seq, 0, UINT64_MAX, &c.seq);
	if (r == 0)
		ev->cursors[ev->cursors_len++] = c;
	return r;
}

static int set_since(void *ctx, const struct option *o, const char *value)
{
	struct events *ev = ctx;
	const char *colon = strchr(value, ':');
	char instance[24] = "";

	if (digits(value))
		return add_cursor(ev, o, NULL, value);
	if (colon && digits(colon + 1) && (size_t)(colon - value) < sizeof(instance)) {
		memcpy(instance, value, (size_t)(colon - value));
		if (digits(instance))
			return add_cursor(ev, o, instance, colon + 1);
	}
	if (when_parse(option_shown(o), value, &ev->since) == 0)
		return 0;
	return option_bad(o, value,
		"neither a cursor nor a time (use INSTANCE:SEQUENCE, SEQUENCE, 10m, 2026-01-31T12:30:05Z)");
}

static int set_until(void *ctx, const struct option *o, const char *value)
{
	return when_parse(option_shown(o), value, &((struct events *)ctx)->until);
}

static const struct option rows[] = {
	{"all", 'a', NULL, "all containers", option_flag, offsetof(struct events, all)},
	{"follow", 'f', NULL, "go on with what happens from now on", option_flag,
		offsetof(struct events, follow)},
	{"since", 's', "CURSOR", "behind INSTANCE:SEQUENCE or SEQUENCE, or from a time on: 10m",
		set_since, 0},
	{"until", 0, "TIME", "only what was before", set_until, 0},
	{"json", 0, NULL, "an object per line, with its cursor", option_flag,
		offsetof(struct events, json)},
	{"show-cursor", 0, NULL, "at the end, a line with each container's cursor", option_flag,
		offsetof(struct events, show_cursor)},
};

static const struct option_table table = {
	.usage = "holdfast events [options] ID...",
	.about = "Shows what has happened to containers.",
	.rows = rows,
	.len = array_size(rows),
	.mixed = true,
};

/* Containers ----------------------------------------------------------------------------------- */

/* A cursor of another container, one of the same name before it was removed, is not this one's. */
static uint64_t begin_at(const struct events *ev, uint64_t instance)
{
	uint64_t seq = 0;

	for (size_t i = 0; i < ev->cursors_len; i++)
		if (!ev->cursors[i].instance || ev->cursors[i].instance == instance)
			seq = ev->cursors[i].seq;
	return seq;
}

static int add_source(struct events *ev, struct state *state)
{
	struct event_source **grown = realloc(ev->sources, (ev->len + 1) * sizeof(*grown)), *s;
	int r;

	if (grown)
		ev->sources = grown;
	s = grown ? malloc(sizeof(*s)) : NULL;
	if (!s) {
		state_close(state);
		return fault(-ENOMEM, "events");
	}
	r = event_source_open(s, state);
	s->seq = begin_at(ev, s->instance);
	ev->sources[ev->len++] = s;
	return r;
}

static bool known(const struct events *ev, const char *id)
{
	for (size_t i = 0; i < ev->len; i++)
		if (strcmp(ev->sources[i]->state.id, id) == 0)
			return true;
	return false;
}

/* One that goes away meanwhile, or is being made, is none yet. */
static int add_all(struct events *ev)
{
	char **ids;
	size_t len;
	int r = state_list(&ids, &len);

	for (size_t i = 0; i < len; i++) {
		struct state state;

		if (r == 0 && !known(ev, ids[i]) && state_open(ids[i], &state) == 0) {
			if (event_source_instance(&state))
				r = add_source(ev, &state);
			else
				state_close(&state);
		}
		free(ids[i]);
	}
	free(ids);
	return r;
}

static void drop(struct events *ev, size_t i)
{
	event_source_close(ev->sources[i]);
	free(ev->sources[i]);
	memmove(&ev->sources[i], &ev->sources[i + 1], (--ev->len - i) * sizeof(*ev->sources));
}

/* Printing ------------------------------------------------------------------------------------- */

static void put(const struct events *ev, const struct event_source *s, const Holdfast__V1__Event *e)
{
	if (ev->json)
		event_line_json(s->state.id, s->instance, e);
	else
		event_line(s->state.id, e);
}

/* A gap has no time of its own: it is shown with the event behind it. */
static int print(void *ctx, struct event_source *s, const Holdfast__V1__Event *e)
{
	struct events *ev = ctx;
	struct event_msg gap;

	if (e->type == HOLDFAST__V1__EVENT_TYPE__EVENT_GAP) {
		s->gap_seq = e->sequence;
		s->gap_missed += e->missed;
		return 0;
	}
	if (e->time_usec >= ev->since && e->time_usec <= ev->until) {
		event_gap(&gap, s->gap_seq, s->gap_missed);
		if (s->gap_missed)
			put(ev, s, &gap.event);
		put(ev, s, e);
	}
	s->gap_missed = 0;
	return ferror(stdout) ? fault(-EIO, "write") : 0;
}

static void print_cursors(const struct events *ev)
{
	for (size_t i = 0; ev->show_cursor && !ev->json && i < ev->len; i++)
		printf("-- cursor: %s %" PRIu64 ":%" PRIu64 "\n", ev->sources[i]->state.id,
			ev->sources[i]->instance, ev->sources[i]->seq);
}

/* A damaged journal is its own container's affair: the others are shown. */
static void pass_over(struct events *ev, struct event_source *s)
{
	complain("%s: %s", s->state.id, fault_text());
	s->unreadable = true;
	ev->failed = true;
}

/* The source whose next event is the oldest, NULL: there is none. */
static struct event_source *oldest(struct events *ev)
{
	struct event_source *first = NULL;

	for (size_t i = 0; i < ev->len; i++) {
		struct event_source *s = ev->sources[i];
		int r = s->watch || s->unreadable ? 0 : event_source_peek(s);

		if (r < 0)
			pass_over(ev, s);
		if (r > 0 && (!first || s->head.event.time_usec < first->head.event.time_usec))
			first = s;
	}
	return first;
}

/* Everything that journals tell and nobody was told yet. */
static int print_journals(struct events *ev)
{
	struct event_source *s;
	int r = 0;

	while (r == 0 && (s = oldest(ev))) {
		r = print(ev, s, &s->head.event);
		event_source_taken(s);
	}
	fflush(stdout);
	return r;
}

/* Following ------------------------------------------------------------------------------------ */

static void watch_dir(const struct events *ev, int dirfd)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", dirfd);
	inotify_add_watch(ev->watch, path, IN_CREATE | IN_MODIFY | IN_MOVED_TO | IN_ONLYDIR);
}

/* New containers appear there; a directory that is not there yet is asked for again. */
static void watch_realm(const struct events *ev)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", state_root(), REALM);
	inotify_add_watch(ev->watch, path, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
}

/* Who has no supervisor is asked for one. true: one of them has none, and changes of its journal
 * are watched. */
static bool connect_all(struct events *ev)
{
	bool alone = ev->all;

	for (size_t i = 0; i < ev->len; i++) {
		struct event_source *s = ev->sources[i];

		if (event_source_watch(s)) {
			s->unreadable = false; /* it tells what the journal does not */
			continue;
		}
		watch_dir(ev, s->state.dirfd);
		alone = true;
	}
	return alone;
}

static void drop_removed(struct events *ev)
{
	for (size_t i = ev->len; i-- > 0;)
		if (!ev->sources[i]->watch && (!state_current(&ev->sources[i]->state) ||
						      (ev->sources[i]->unreadable && !ev->all)))
			drop(ev, i);
}

static int wait_for_more(struct events *ev, bool alone)
{
	struct pollfd *p = calloc(ev->len + 2, sizeof(*p));
	char buf[4096] __attribute__((aligned(8)));
	nfds_t n = 0;

	if (!p)
		return fault(-ENOMEM, "events");
	p[n++] = (struct pollfd){.fd = ev->watch, .events = POLLIN};
	p[n++] = (struct pollfd){.fd = STDOUT_FILENO}; /* its reader may go */
	for (size_t i = 0; i < ev->len; i++)
		if (ev->sources[i]->watch)
			p[n++] = (struct pollfd){
				.fd = holdfast_fd(ev->sources[i]->watch), .events = POLLIN};
	poll(p, n, alone ? AGAIN_MS : -1);
	if (p[1].revents & (POLLERR | POLLHUP))
		ev->output_failed = true;
	free(p);
	while (read(ev->watch, buf, sizeof(buf)) > 0)
		;
	return 0;
}

static int take_all(struct events *ev)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < ev->len; i++)
		r = event_source_take(ev->sources[i], print, ev);
	return r;
}

static int follow(struct events *ev)
{
	int r = 0;

	ev->watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (ev->watch < 0)
		return fault(-errno, "inotify");
	if (ev->all)
		watch_realm(ev);
	while (r == 0 && (ev->all || ev->len > 0) && !ev->output_failed) {
		bool alone = connect_all(ev);

		r = print_journals(ev); /* written before the watch was there */
		if (r == 0)
			r = wait_for_more(ev, alone);
		if (r == 0)
			r = take_all(ev);
		if (r == 0)
			r = print_journals(ev);
		drop_removed(ev);
		if (r == 0 && ev->all)
			r = add_all(ev);
	}
	fd_close(&ev->watch);
	return r;
}

/* The command ---------------------------------------------------------------------------------- */

static int check(const struct events *ev, int operands)
{
	if (operands == 0 && !ev->all)
		return fault_plain(-EINVAL, "events: which container? (%s, or --all)", table.usage);
	if (operands > 0 && ev->all)
		return fault_plain(-EINVAL, "events: --all and names (use one of them)");
	for (size_t i = 0; i < ev->cursors_len; i++)
		if (!ev->cursors[i].instance && (operands != 1 || ev->cursors_len > 1))
			return fault_plain(-EINVAL,
				"--since \"%" PRIu64
				"\": a sequence is one container's (use INSTANCE:SEQUENCE for several)",
				ev->cursors[i].seq);
	return 0;
}

static int open_named(struct events *ev, int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		struct state state;
		int r = state_find(argv[i], &state);

		if (r < 0)
			return r;
		if (known(ev, state.id)) {
			state_close(&state);
			continue;
		}
		r = add_source(ev, &state);
		if (r < 0)
			return r;
	}
	return 0;
}

int command_events(int argc, char **argv)
{
	struct events ev = {.watch = -1, .until = UINT64_MAX};
	int first, r = options_parse(&table, &ev, argc, argv, &first);

	if (r == OPTIONS_HELP)
		return CLI_OK;
	if (r == OPTIONS_OK)
		r = check(&ev, argc - first);
	if (r < 0) {
		complain("%s", fault_text());
		return CLI_USAGE;
	}
	signal(SIGPIPE, SIG_DFL); /* `holdfast events | head` ends as every tool does */
	r = ev.all ? add_all(&ev) : open_named(&ev, argc - first, argv + first);
	if (r == 0)
		r = print_journals(&ev);
	if (r == 0 && ev.follow)
		r = follow(&ev);
	if (r == 0)
		print_cursors(&ev);
	while (ev.len > 0)
		drop(&ev, ev.len - 1);
	free(ev.sources);
	if (r == 0)
		return ev.failed ? CLI_FAILED : CLI_OK;
	complain("%s", fault_text());
	return state_status(r);
}
