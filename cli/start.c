/* start and restart. A container that was never started, or has ended for good, has no supervisor:
 * under its lock the file `start` says that it is wanted up, and a new pair goes on with the same
 * state directory, journal and logs. Of two such commands one gets the lock; the other finds what
 * it made. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/attach.h"
#include "cli/command.h"
#include "cli/control.h"
#include "cli/keeper_start.h"
#include "cli/spec.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/mem.h"

/* The supervisors ---------------------------------------------------------------------------------
 */

static int removed(const struct state *s)
{
	return fault_plain(-ENOENT, "container \"%s\" was removed meanwhile", s->id);
}

static int touch(const struct state *s, const char *name)
{
	auto_fd fd = openat(s->dirfd, name, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	return fd < 0 ? fault(-errno, "create %s of %s", name, s->id) : 0;
}

/* A creation that was killed half-way has no settings, or no config.json. */
static int complete(const struct state *s)
{
	struct settings settings;

	if (settings_read(s->dirfd, &settings) == 0 &&
		faccessat(s->dirfd, "config.json", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	return fault_plain(-EINVAL,
		"container \"%s\" can't be started: its creation was interrupted (holdfast rm %s, and make it again)",
		s->id, s->id);
}

static int pair_make(const struct state *s, int lock)
{
	int r = touch(s, "start");

	if (r == 0)
		r = touch(s, "enabled");
	if (r == 0)
		r = keeper_start(s, lock, -1);
	else
		fd_close(&lock);
	if (r < 0) {
		unlinkat(s->dirfd, "enabled", 0);
		unlinkat(s->dirfd, "start", 0);
	}
	return r;
}

static int pair_wanted(struct client *c, const struct state *s)
{
	int lock = state_current(s) ? state_lock(s) : removed(s), r;

	if (lock == -EAGAIN) /* another command makes it, or removes the container */
		return client_open(c, s);
	if (lock < 0)
		return lock;
	r = state_current(s) ? complete(s) : removed(s);
	if (r < 0) {
		fd_close(&lock);
		return r;
	}
	r = pair_make(s, lock);
	return r < 0 ? r : client_open(c, s);
}

/* Connected: DONE. GONE: somebody else was faster, ask again. */
static int supervisor(struct client *c, const struct state *s)
{
	struct history h;
	bool stale;
	int r = client_open(c, s);

	if (r != CLIENT_GONE)
		return r;
	r = state_history(s, &h, &stale);
	if (r < 0)
		return r;
	if (!stale && h.state != LIFE_NEW && h.state != LIFE_DOWN)
		return client_revive(c, s); /* an orphan: whoever changes it adopts it first */
	return pair_wanted(c, s);
}

/* A supervisor that is on its way out closes all connections when it is gone. */
static void await_retirement(struct client *c)
{
	struct packet p;

	while (client_recv(c, &p, 0) == CLIENT_DONE)
		;
	client_close(c);
}

static bool going_down(const struct client_state *st)
{
	return st->state == LIFE_DOWN || st->state == LIFE_STOPPING ||
	       (st->state == LIFE_BACKOFF && st->last.action == POLICY_STAY_DOWN);
}

/* Connected to a supervisor that is there to stay: DONE with what it says of the container, or a
 * fault. */
static int reach(struct client *c, const struct state *s, struct client_state *st)
{
	for (int i = 0; i < CLIENT_TRIES; i++) {
		int r = supervisor(c, s);

		if (r == CLIENT_DONE)
			r = client_look(c, s, st);
		if (r < 0 || (r == CLIENT_DONE && !going_down(st)))
			return r;
		if (r == CLIENT_DONE)
			await_retirement(c);
		client_close(c);
	}
	return client_gone_again(s);
}

/* The new run -------------------------------------------------------------------------------------
 */

enum run_news {
	NEWS_UP,
	NEWS_FAILED, /* and said so */
	NEWS_ENDED,  /* without a new run: something else took it down */
	NEWS_GONE,
};

static enum run_news ended(const struct packet *p, uint32_t after, const char *command)
{
	struct exit_info e;

	memcpy(&e, p->body, sizeof(e));
	if (e.run <= after && !(e.flags & EXIT_START_FAILED))
		return NEWS_ENDED;
	if (!(e.flags & EXIT_START_FAILED))
		return NEWS_UP; /* a short life, but a life */
	attach_ended(&e, command);
	return NEWS_FAILED;
}

static bool up_since(const struct packet *p, uint32_t after)
{
	struct client_started started;
	struct client_state st;

	if (p->h.verb == CLIENT_STATE_IS) {
		memcpy(&st, p->body, sizeof(st));
		return st.state == LIFE_RUNNING && st.run > after;
	}
	memcpy(&started, p->body, sizeof(started));
	if (started.run <= after)
		return false;
	attach_warnings(&started);
	return true;
}

static enum run_news failed(const struct packet *p)
{
	struct launch_result result;

	memcpy(&result, p->body, sizeof(result));
	attach_failed(&result);
	return NEWS_FAILED;
}

/* Until a run later than `after` is up. An outcome or a fault. */
static int await_run(struct client *c, uint32_t after, const char *command)
{
	struct packet p;
	int r;

	while ((r = client_recv(c, &p, 0)) == CLIENT_DONE) {
		if (p.h.verb == CLIENT_EXITED)
			return (int)ended(&p, after, command);
		if (p.h.verb == CLIENT_FAILED)
			return (int)failed(&p);
		if ((p.h.verb == CLIENT_STARTED || p.h.verb == CLIENT_STATE_IS) &&
			up_since(&p, after))
			return NEWS_UP;
		/* what the shim before this one announced may have been lost with it */
		if (p.h.verb == CLIENT_TAKEOVER)
			client_send(c, CLIENT_STATE, NULL, 0);
	}
	return r < 0 ? r : NEWS_GONE;
}

/* With --notify: until the run, or one that follows it, says that it is ready. */
static int await_ready(struct client *c, const struct state *s, const char *command)
{
	struct settings settings;
	struct exit_info e;
	struct packet p;
	int r = settings_read(s->dirfd, &settings);

	if (r < 0 || !(settings.flags & SETTINGS_NOTIFY))
		return r < 0 ? r : NEWS_UP;
	/* asked of one that runs, it tells whether it is ready already */
	r = client_send(c, CLIENT_START, NULL, 0);
	if (r == CLIENT_DONE)
		r = client_ready(c, &p);
	if (r != CLIENT_DONE)
		return r < 0 ? r : NEWS_GONE;
	if (p.h.verb == CLIENT_READY)
		return NEWS_UP;
	memcpy(&e, p.body, sizeof(e));
	attach_ended(&e, command);
	return NEWS_FAILED;
}

/* For messages: the first word of the command. */
static void command_name(const struct state *s, char ret[80])
{
	spec_command(s->dirfd, ret, 80);
	ret[strcspn(ret, " ")] = '\0';
}

/* start -------------------------------------------------------------------------------------------
 */

/* Another command has begun it, and how that goes is not known yet. Once something ran, what comes
 * up is the restart policy's, which may try for ever. */
static bool starts(const struct state *s, const struct client_state *st)
{
	struct history h;
	bool stale;

	return (st->state == LIFE_LAUNCHING || st->state == LIFE_LAUNCHED) &&
	       state_history(s, &h, &stale) == 0 && !h.up_once;
}

static int start_and_leave(struct client *c, const struct state *s, const struct client_state *st)
{
	char command[80];
	bool wait = st->state == LIFE_NEW || starts(s, st);
	int r = st->state == LIFE_NEW ? client_send(c, CLIENT_START, NULL, 0) : CLIENT_DONE;

	attach_unblock_signals(); /* from here on ^C ends this command, not the container */
	if (r < 0)
		return r;
	command_name(s, command);
	if (r == CLIENT_DONE && wait)
		r = await_run(c, st->run, command);
	else if (r == CLIENT_GONE)
		r = NEWS_GONE;
	if (r == NEWS_UP)
		r = await_ready(c, s, command);
	switch (r) {
	case NEWS_UP:
		printf("%s\n", s->id);
		return 0;
	case NEWS_FAILED:
		return CONTROL_FAILED;
	case NEWS_ENDED:
		return fault_plain(-ECANCELED, "container \"%s\" was stopped meanwhile", s->id);
	case NEWS_GONE:
		return fault_plain(-EIO,
			"the supervisor of \"%s\" is gone (its log: %s/%s/%s/shim.log)", s->id,
			state_root(), REALM, s->id);
	default:
		return r;
	}
}

static int start_and_stay(struct client *c, const struct state *s, struct control *ctl)
{
	struct settings settings;
	char command[80];
	struct attach_conf conf = {
		.interactive = ctl->interactive,
		.keep = true,
		.from_end = true,
		.log_dir = settings.log_dir,
		.command = command,
		.detach_keys = ctl->detach_keys,
	};
	int r = settings_read(s->dirfd, &settings);

	if (r < 0)
		return r;
	command_name(s, command);
	if (ctl->interactive && !(settings.flags & SETTINGS_STDIN))
		return fault_plain(-EINVAL,
			"container \"%s\" was made without -i: it has no standard input to pass on (leave -i out)",
			s->id);
	conf.tty = settings.flags & SETTINGS_TTY;
	conf.remove = settings.flags & SETTINGS_AUTO_REMOVE;
	ctl->status = attach_run(c, s, &conf);
	if (ctl->status == ATTACH_NOT_STARTED)
		ctl->status = CLI_BROKEN;
	return 0;
}

static int start_one(struct state *s, struct control *ctl)
{
	struct client c = {.fd = -1};
	struct client_state st;
	int r;

	attach_block_signals();
	r = reach(&c, s, &st);
	if (r == CLIENT_DONE)
		r = ctl->attach ? start_and_stay(&c, s, ctl) : start_and_leave(&c, s, &st);
	client_close(&c);
	attach_unblock_signals();
	return r;
}

/* restart -----------------------------------------------------------------------------------------
 */

static int restart_once(struct client *c, const struct state *s, const struct control *ctl)
{
	struct stop_req req = control_stop_request(ctl);
	struct client_state st;
	char command[80];
	int r = reach(c, s, &st);

	if (r != CLIENT_DONE)
		return r;
	command_name(s, command);
	r = st.state == LIFE_NEW ? client_send(c, CLIENT_START, NULL, 0)
				 : client_ask(c, CLIENT_RESTART, &req, sizeof(req));
	if (r < 0 && r != -ESRCH && r != -ECANCELED)
		return r;
	/* it may have ended just now, by itself, and be on its way down or up again; what was
	 * announced while the answer was waited for is asked once more */
	if (r != CLIENT_GONE)
		r = client_send(c, CLIENT_STATE, NULL, 0);
	if (r == CLIENT_DONE)
		r = client_send(c, CLIENT_WAIT, NULL, 0);
	return r == CLIENT_DONE ? await_run(c, st.run, command) : r < 0 ? r : NEWS_GONE;
}

static int restart_one(struct state *s, struct control *ctl)
{
	for (int i = 0; i < CLIENT_TRIES; i++) {
		struct client c = {.fd = -1};
		int r = restart_once(&c, s, ctl);

		if (r == NEWS_ENDED)
			await_retirement(&c);
		client_close(&c);
		if (r == NEWS_UP)
			printf("%s\n", s->id);
		if (r < 0 || r == NEWS_UP || r == NEWS_FAILED)
			return r == NEWS_FAILED ? CONTROL_FAILED : r;
	}
	return client_gone_again(s);
}

static const struct option start_rows[] = {
	{"attach", 'a', NULL, "stay, show its output, pass signals on, exit with its status",
		option_flag, offsetof(struct control, attach)},
	{"interactive", 'i', NULL, "pass standard input on (one made with -i; implies -a)",
		option_flag, offsetof(struct control, interactive)},
	{"detach-keys", 0, "KEYS", "leave a terminal by these (ctrl-p,ctrl-q)", option_keys,
		offsetof(struct control, detach_keys)},
};
static const struct option restart_rows[] = {
	CONTROL_TIME_ROW, CONTROL_SIGNAL_ROW("instead of the stop signal")};

int command_start(int argc, char **argv)
{
	static const struct option_table table = {"holdfast start [options] ID...",
		"Starts containers that were created, or have ended, with the settings they were made with.",
		start_rows, array_size(start_rows), true};
	struct control ctl = {.status = -1};
	int status = control_each(&table, &ctl, argc, argv, start_one);

	return ctl.status >= 0 ? ctl.status : status;
}

int command_restart(int argc, char **argv)
{
	static const struct option_table table = {"holdfast restart [options] ID...",
		"Stops and starts again, whatever the policy says; starts what has ended.",
		restart_rows, array_size(restart_rows), true};
	struct control ctl = {.status = -1};

	return control_each(&table, &ctl, argc, argv, restart_one);
}
