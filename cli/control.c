/* stop, kill, restart, wait, rm: one loop over the names, one function per name. Whatever changes a
 * container goes through its supervisor; one whose service may still run with nobody supervising
 * gets a new keeper first. Only what has ended for good is handled from its files. */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/keeper_start.h"
#include "cli/options.h"
#include "cli/state.h"
#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/mem.h"
#include "ipc/base/proc.h"

#define TRIES 5 /* a supervisor may retire just as we ask it */

struct control {
	const char *time; /* as the user wrote it */
	uint64_t grace_usec;
	uint32_t signal;
	bool force;
};

static int set_time(void *ctx, const struct option *o, const char *value)
{
	((struct control *)ctx)->time = value;
	return option_duration(ctx, o, value);
}

#define TIME_ROW                                                                       \
	{                                                                              \
		"time", 't', "TIME", "wait this long, then kill everything", set_time, \
			offsetof(struct control, grace_usec)                           \
	}
#define SIGNAL_ROW(what)                                                                       \
	{                                                                                      \
		"signal", 's', "SIGNAL", what, option_signal, offsetof(struct control, signal) \
	}

static const struct option stop_rows[] = {TIME_ROW, SIGNAL_ROW("instead of the stop signal")};
static const struct option kill_rows[] = {SIGNAL_ROW("default KILL")};
static const struct option rm_rows[] = {{"force", 'f', NULL, "stop it first, at once", option_flag,
	offsetof(struct control, force)}};

enum control_outcome {
	CONTROL_DONE,
	CONTROL_ORPHAN, /* nobody supervises it: the fault text says so */
};

/* One container: an outcome, or a fault for its line of complaint. */
typedef int (*control_one)(struct state *s, const struct control *ctl);

static int each(const struct option_table *table, struct control *ctl, int argc, char **argv,
	control_one one)
{
	int first, r = options_parse(table, ctl, argc, argv, &first), status = CLI_OK;

	if (r == OPTIONS_HELP)
		return CLI_OK;
	if (r == OPTIONS_OK && first >= argc)
		r = fault_plain(-EINVAL, "%s: which container? (%s)", argv[0], table->usage);
	if (r < 0) {
		complain("%s", fault_text());
		return CLI_USAGE;
	}
	for (int i = first; i < argc; i++) {
		struct state s;

		r = state_find(argv[i], &s);
		if (r == 0)
			r = one(&s, ctl);
		if (r != CONTROL_DONE)
			complain("%s", fault_text());
		if (r == CONTROL_ORPHAN)
			status = CLI_BROKEN;
		else if (r < 0 && status == CLI_OK)
			status = CLI_FAILED;
		state_close(&s);
		fflush(stdout); /* a line per container, as each is done */
	}
	return status;
}

static struct stop_req stop_request(const struct control *ctl)
{
	return (struct stop_req){
		.signo = ctl->signal,
		.has_grace = ctl->time != NULL,
		.grace_usec = ctl->grace_usec,
	};
}

/* Until it is down for good, whichever way that is to be learned. CLIENT_DONE with *e filled in,
 * GONE when there is no journal of an end (nothing ever ran, or the host restarted), or a fault. */
static int await_end(struct client *c, const struct state *s, struct exit_info *e)
{
	struct history h;
	bool stale;
	int r = CLIENT_DONE;

	for (int i = 0; i < TRIES; i++) {
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
	return fault_plain(-EIO,
		"%s: its supervisor goes away again and again (its log: shim.log in %s/%s/%s)",
		s->id, state_root(), REALM, s->id);
}

static int stop_one(struct state *s, const struct control *ctl)
{
	struct stop_req req = stop_request(ctl);
	struct client c = {.fd = -1};
	struct exit_info e;
	int r = client_revive(&c, s);

	if (r == CLIENT_DONE)
		r = client_ask(&c, CLIENT_STOP, &req, sizeof(req));
	if (r == CLIENT_DONE)
		r = await_end(&c, s, &e);
	client_close(&c);
	if (r < 0)
		return r;
	printf("%s\n", s->id);
	return 0;
}

static int kill_one(struct state *s, const struct control *ctl)
{
	struct signal_req req = {.signo = ctl->signal ? ctl->signal : SIGKILL};
	struct client c = {.fd = -1};
	int r = client_revive(&c, s);

	if (r == CLIENT_DONE)
		r = client_ask(&c, CLIENT_SIGNAL, &req, sizeof(req));
	client_close(&c);
	if (r == CLIENT_GONE)
		return fault_plain(-ESRCH, "container \"%s\" is not running", s->id);
	if (r < 0)
		return r;
	printf("%s\n", s->id);
	return 0;
}

static int restart_one(struct state *s, const struct control *ctl)
{
	struct stop_req req = stop_request(ctl);
	struct client c = {.fd = -1};
	int r = client_revive(&c, s);

	if (r == CLIENT_DONE)
		r = client_ask(&c, CLIENT_RESTART, &req, sizeof(req));
	client_close(&c);
	if (r == CLIENT_GONE)
		return fault_plain(-ESRCH,
			"container \"%s\" has ended (holdfast rm it, and run it again)", s->id);
	if (r < 0)
		return r;
	printf("%s\n", s->id);
	return 0;
}

/* To adopt an orphan ends its service, and who waits does not ask for that. */
static int orphan(const struct state *s)
{
	fault_plain(-EIO,
		"nobody supervises \"%s\": its end can't be waited for (holdfast stop or rm -f ends it)",
		s->id);
	return CONTROL_ORPHAN;
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
	if (!stale && h.state != LIFE_NEW && h.state != LIFE_REMOVED)
		return orphan(s);
	return fault_plain(-ENOENT,
		"how \"%s\" ended is not known: the host restarted, or it never ran", s->id);
}

static int wait_one(struct state *s, const struct control *ctl)
{
	struct client c = {.fd = -1};
	struct exit_info e = {0};
	int r = CLIENT_GONE;

	/* a connection outlives its shim and its keeper; it ends with the last of them, or because
	 * the supervisor retired just now */
	for (int i = 0; i < TRIES && r == CLIENT_GONE; i++) {
		r = client_open(&c, s);
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

/* To adopt an orphan ends its service: not for a command that refuses what runs. */
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

static int rm_one(struct state *s, const struct control *ctl)
{
	struct client c = {.fd = -1};
	int r = ctl->force ? 0 : refuse_orphan(s);

	if (r < 0)
		return r;

	for (int i = 0; i < TRIES; i++) {
		r = client_revive(&c, s);
		if (r == CLIENT_DONE)
			r = client_remove(&c, ctl->force);
		client_close(&c);
		if (r < 0 || !state_current(s))
			break;
		r = state_remove(s); /* the supervisor had retired, or does just now */
		if (r != -EBUSY)
			break;
	}
	if (r < 0 && ctl->force && state_current(s) && state_supervised(s) == 0)
		r = rm_damaged(s);
	if (r < 0)
		return r;
	keeper_group_discard(s->id);
	printf("%s\n", s->id);
	return 0;
}

int command_stop(int argc, char **argv)
{
	static const struct option_table table = {"holdfast stop [options] ID...",
		"Stops containers: the stop signal, then SIGKILL to everything. No policy restarts them.",
		stop_rows, array_size(stop_rows), true};
	struct control ctl = {0};

	return each(&table, &ctl, argc, argv, stop_one);
}

int command_kill(int argc, char **argv)
{
	static const struct option_table table = {"holdfast kill [options] ID...",
		"Sends a signal. KILL and the stop signal mean stop: no policy restarts it then.",
		kill_rows, array_size(kill_rows), true};
	struct control ctl = {0};

	return each(&table, &ctl, argc, argv, kill_one);
}

int command_restart(int argc, char **argv)
{
	static const struct option_table table = {"holdfast restart [options] ID...",
		"Stops and starts again, whatever the policy says.", stop_rows,
		array_size(stop_rows), true};
	struct control ctl = {0};

	return each(&table, &ctl, argc, argv, restart_one);
}

int command_wait(int argc, char **argv)
{
	static const struct option_table table = {"holdfast wait ID...",
		"Waits until each is down for good, and prints its exit status.", NULL, 0, true};
	struct control ctl = {0};

	return each(&table, &ctl, argc, argv, wait_one);
}

int command_rm(int argc, char **argv)
{
	static const struct option_table table = {"holdfast rm [options] ID...",
		"Removes containers that have ended: state, journal and logs.", rm_rows,
		array_size(rm_rows), true};
	struct control ctl = {0};

	return each(&table, &ctl, argc, argv, rm_one);
}
