/* stop, kill, wait, rm: one loop over the names, one function per name. Whatever changes a
 * container goes through its supervisor; one whose service may still run with nobody supervising
 * gets a new keeper first. Only what has ended for good is handled from its files. */
#include "cli/control.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/change.h"
#include "cli/command.h"
#include "cli/keeper_start.h"
#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/mem.h"
#include "ipc/base/proc.h"

int control_time(void *ctx, const struct option *o, const char *value)
{
	((struct control *)ctx)->time = value;
	return option_duration(ctx, o, value);
}

static const struct option stop_rows[] = {
	CONTROL_TIME_ROW, CONTROL_SIGNAL_ROW("instead of the stop signal")};
static const struct option kill_rows[] = {CONTROL_SIGNAL_ROW("default KILL")};
static const struct option rm_rows[] = {{"force", 'f', NULL, "stop it first, at once", option_flag,
	offsetof(struct control, force)}};

int control_check_names(char **names, int n)
{
	for (int i = 0; i < n; i++) {
		struct state s;
		int r = state_find(names[i], &s);

		state_close(&s);
		if (r == -ENOTUNIQ)
			return r;
	}
	return 0;
}

int control_each(const struct option_table *table, struct control *ctl, int argc, char **argv,
	control_one one)
{
	int first, r = options_parse(table, ctl, argc, argv, &first), status = CLI_OK;

	if (r == OPTIONS_HELP)
		return CLI_OK;
	if (r == OPTIONS_OK && first >= argc)
		r = fault_plain(-EINVAL, "%s: which container? (%s)", argv[0], table->usage);
	ctl->attach = ctl->attach || ctl->interactive;
	if (r == OPTIONS_OK && ctl->attach && argc - first > 1)
		r = fault_plain(-EINVAL,
			"%s: -a and -i are for one container (name one, or leave them out)",
			argv[0]);
	if (r == OPTIONS_OK)
		r = control_check_names(argv + first, argc - first);
	if (r < 0) {
		complain("%s", fault_text());
		return CLI_USAGE;
	}
	for (int i = first; i < argc; i++) {
		struct state s;

		r = state_find(argv[i], &s);
		if (r == 0)
			r = one(&s, ctl);
		if (r != CONTROL_DONE && r != CONTROL_FAILED)
			complain("%s", fault_text());
		if (r == CONTROL_ORPHAN)
			status = CLI_BROKEN;
		else if (r != CONTROL_DONE && status == CLI_OK)
			status = CLI_FAILED;
		state_close(&s);
		fflush(stdout); /* a line per container, as each is done */
	}
	return status;
}

int control_all(int (*one)(struct state *s, void *ctx), void *ctx)
{
	int status = CLI_OK;
	char **ids;
	size_t len;

	if (state_list(&ids, &len) < 0) {
		complain("%s", fault_text());
		return CLI_FAILED;
	}
	for (size_t i = 0; i < len; i++) {
		struct state s;
		int r = state_open(ids[i], &s);

		if (r == 0)
			r = one(&s, ctx);
		else if (r == -ENOENT) /* removed meanwhile */
			r = 0;
		if (r < 0) {
			complain("%s", fault_text());
			status = CLI_FAILED;
		}
		state_close(&s);
		free(ids[i]);
	}
	free(ids);
	return status;
}

struct stop_req control_stop_request(const struct control *ctl)
{
	return (struct stop_req){
		.signo = ctl->signal,
		.has_grace = ctl->time != NULL,
		.grace_usec = ctl->grace_usec,
	};
}

int control_await_end(struct client *c, const struct state *s, struct exit_info *e)
{
	struct history h;
	bool stale;
	int r = CLIENT_DONE;

	for (int i = 0; i < CLIENT_TRIES; i++) {
		if (i > 0)
			r = client_revive(c, s);
		if (r == CLIENT_DONE)
			r = client_wait(c, e);
		client_close(c);
		if (r != CLIENT_GONE)
			return r;
		r = state_history(s, &h, &stale);
		if (r < 0)
			return r;
		*e = h.last;
		if (h.state == LIFE_DOWN)
			return CLIENT_DONE;
		if (stale || h.state == LIFE_NEW)
			return CLIENT_GONE;
	}
	return client_gone_again(s);
}

static int stop_one(struct state *s, struct control *ctl)
{
	struct stop_req req = control_stop_request(ctl);
	struct client c = {.fd = -1};
	struct exit_info e;
	int r = client_revive(&c, s);

	for (int i = 1; r == CLIENT_DONE; i++) {
		r = client_ask(&c, CLIENT_STOP, &req, sizeof(req));
		if (r != CLIENT_GONE)
			break;
		client_close(&c); /* retired, or died: who is there now is asked again */
		r = i < CLIENT_TRIES ? client_revive(&c, s) : client_gone_again(s);
	}
	if (r == CLIENT_DONE)
		r = control_await_end(&c, s, &e);
	client_close(&c);
	if (r < 0)
		return r;
	printf("%s\n", s->id);
	return 0;
}

static bool has_ended(const struct state *s)
{
	struct history h;
	bool stale;

	return state_history(s, &h, &stale) == 0 && h.state == LIFE_DOWN;
}

static int kill_one(struct state *s, struct control *ctl)
{
	struct signal_req req = {.signo = ctl->signal ? ctl->signal : SIGKILL};
	struct client c = {.fd = -1};
	bool ended = has_ended(s);
	int r = client_revive(&c, s);

	if (r == CLIENT_DONE)
		r = client_ask(&c, CLIENT_SIGNAL, &req, sizeof(req));
	client_close(&c);
	/* an orphan is ended by being taken over: if that is what was asked for, it is done */
	if (r == CLIENT_GONE && (ended || req.signo != SIGKILL || !has_ended(s)))
		return change_unsupervised(s);
	if (r < 0)
		return r;
	printf("%s\n", s->id);
	return 0;
}

/* From the files, when nobody supervises. */
static int wait_ended(const struct state *s, struct exit_info *e)
{
	struct history h;
	bool stale;
	int r = state_history(s, &h, &stale);

	if (r < 0)
		return r;
	*e = h.last;
	if (h.state == LIFE_DOWN)
		return CONTROL_DONE;
	if (!stale && h.state != LIFE_NEW && h.state != LIFE_REMOVED) {
		fault_plain(-EIO,
			"nobody supervises \"%s\", and its init has ended: how is not known (holdfast adopt goes on with it)",
			s->id);
		return CONTROL_ORPHAN;
	}
	return fault_plain(-ENOENT,
		"how \"%s\" ended is not known: the host restarted, or it never ran", s->id);
}

static int wait_one(struct state *s, struct control *ctl)
{
	struct client c = {.fd = -1};
	struct exit_info e = {0};
	int r = CLIENT_GONE;

	/* a connection outlives its shim and its keeper; it ends with the last of them, or because
	 * the supervisor retired just now */
	for (int i = 0; i < CLIENT_TRIES && r == CLIENT_GONE; i++) {
		r = client_adopt(&c, s);
		if (r < 0) /* who waits does not ask for its end */
			return r == -ETIMEDOUT || state_supervised(s) == 0 ? CONTROL_ORPHAN : r;
		if (r == CLIENT_DONE)
			r = client_wait(&c, &e);
		client_close(&c);
		if (r == CLIENT_GONE && state_supervised(s) <= 0)
			break;
	}
	if (r == CLIENT_GONE)
		r = wait_ended(s, &e);
	if (r == CONTROL_DONE)
		printf("%d\n", exit_status(&e));
	return r;
}

/* Its journal can't be read, so no supervisor can take it over. */
static int rm_damaged(struct state *s)
{
	struct history h;
	bool stale;

	return state_history(s, &h, &stale) < 0 ? state_remove_forced(s) : -EIO;
}

/* A command that refuses what runs needs nobody to adopt it. */
static int refuse_orphan(const struct state *s)
{
	struct history h;
	bool stale;

	if (state_supervised(s) != 0 || state_history(s, &h, &stale) < 0 || stale ||
		h.init_pid <= 0 || h.state == LIFE_DOWN || h.state == LIFE_REMOVED ||
		proc_starttime(h.init_pid) != h.init_starttime)
		return 0;
	return fault_plain(-EBUSY,
		"%s: is running, with nobody supervising it (stop it first, or use rm -f)", s->id);
}

int control_remove(struct state *s, bool force)
{
	struct client c = {.fd = -1};
	int r = force ? 0 : refuse_orphan(s);

	if (r < 0)
		return r;

	for (int i = 0; i < CLIENT_TRIES; i++) {
		r = client_revive(&c, s);
		if (r == CLIENT_DONE)
			r = client_remove(&c, force);
		client_close(&c);
		if (r < 0 || !state_current(s))
			break;
		r = state_remove(s); /* the supervisor had retired, or does just now */
		if (r != -EBUSY)
			break;
	}
	if (r < 0 && force && state_current(s) && state_supervised(s) == 0)
		r = rm_damaged(s);
	if (r < 0)
		return r;
	keeper_group_discard(s->id);
	return 0;
}

static int rm_one(struct state *s, struct control *ctl)
{
	int r = control_remove(s, ctl->force);

	if (r == 0)
		printf("%s\n", s->id);
	return r;
}

/* It has no PID 1 that could be adopted: ended, or to be gone on with as its policy says. */
static int adopt_without(struct client *c, const struct state *s)
{
	struct history h;
	bool stale;
	int r = state_history(s, &h, &stale);

	if (r < 0)
		return r;
	if (stale || h.state == LIFE_NEW || h.state == LIFE_DOWN || h.state == LIFE_REMOVED)
		return change_unsupervised(s);
	return client_revive(c, s);
}

/* Nobody supervises what may run; also true when the journal can't be read, which is then said. */
static bool orphaned(const struct state *s)
{
	struct history h;
	bool stale;

	if (state_supervised(s) != 0)
		return false;
	return state_history(s, &h, &stale) < 0 ||
	       (!stale && h.state != LIFE_NEW && h.state != LIFE_DOWN && h.state != LIFE_REMOVED);
}

static int adopt_one(struct state *s, struct control *ctl)
{
	struct client c = {.fd = -1};
	int r = client_adopt(&c, s);

	if (r == CLIENT_GONE)
		r = adopt_without(&c, s);
	client_close(&c);
	if (r == CLIENT_GONE)
		return change_unsupervised(s);
	if (r < 0)
		return r;
	printf("%s\n", s->id);
	return 0;
}

static int adopt_orphan(struct state *s, void *ctx)
{
	return orphaned(s) ? adopt_one(s, ctx) : 0;
}

int command_adopt(int argc, char **argv)
{
	static const struct option rows[] = {{"all", 'a', NULL, "all that nobody supervises",
		option_flag, offsetof(struct control, all)}};
	static const struct option_table table = {"holdfast adopt [options] [ID...]",
		"Makes new supervisors for containers whose keeper and shim have both died.", rows,
		array_size(rows), true};
	struct control ctl = {0};
	int first, r = options_parse(&table, &ctl, argc, argv, &first);

	if (r == OPTIONS_OK && ctl.all && first < argc)
		r = fault_plain(
			-EINVAL, "adopt: --all and \"%s\" (leave one of them out)", argv[first]);
	if (r < 0) {
		complain("%s", fault_text());
		return CLI_USAGE;
	}
	if (r == OPTIONS_HELP)
		return CLI_OK;
	return ctl.all ? control_all(adopt_orphan, &ctl)
		       : control_each(&table, &ctl, argc, argv, adopt_one);
}

int command_stop(int argc, char **argv)
{
	static const struct option_table table = {"holdfast stop [options] ID...",
		"Stops containers: the stop signal, then SIGKILL to everything. No policy restarts them.",
		stop_rows, array_size(stop_rows), true};
	struct control ctl = {0};

	return control_each(&table, &ctl, argc, argv, stop_one);
}

int command_kill(int argc, char **argv)
{
	static const struct option_table table = {"holdfast kill [options] ID...",
		"Sends a signal. KILL and the stop signal mean stop: no policy restarts it then.",
		kill_rows, array_size(kill_rows), true};
	struct control ctl = {0};

	return control_each(&table, &ctl, argc, argv, kill_one);
}

int command_wait(int argc, char **argv)
{
	static const struct option_table table = {"holdfast wait ID...",
		"Waits until each is down for good, and prints its exit status.", NULL, 0, true};
	struct control ctl = {0};

	return control_each(&table, &ctl, argc, argv, wait_one);
}

int command_rm(int argc, char **argv)
{
	static const struct option_table table = {"holdfast rm [options] ID...",
		"Removes containers that have ended: state, journal and logs.", rm_rows,
		array_size(rm_rows), true};
	struct control ctl = {0};

	return control_each(&table, &ctl, argc, argv, rm_one);
}
