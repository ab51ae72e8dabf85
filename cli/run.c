/* holdfast run: options -> config.json and settings in a new state directory -> keeper -> start.
 * The order is one of cost to undo: everything that the user may have got wrong is found before
 * anything is created, and what is created before the keeper is up is removed again. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/attach.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/keeper_start.h"
#include "cli/opt_rules.h"
#include "cli/run_options.h"
#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"
#include "ipc/base/mem.h"
#include "ipc/base/proc.h"
#include "ipc/cghier.h"
#include "monitor/rule_text.h"

static int give_up(int status)
{
	complain("%s", fault_text());
	return status;
}

static int choose_id(struct run *run)
{
	unsigned char r[6];

	if (run->name) {
		snprintf(run->settings.id, sizeof(run->settings.id), "%s", run->name);
		return 0;
	}
	if (random_bytes(r, sizeof(r)) < 0)
		return fault(-EIO, "random id");
	snprintf(run->settings.id, sizeof(run->settings.id), "%02x%02x%02x%02x%02x%02x", r[0], r[1],
		r[2], r[3], r[4], r[5]);
	return 0;
}

static int enabled_create(int dirfd)
{
	auto_fd fd = openat(dirfd, "enabled", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	return fd < 0 ? fault(-errno, "create enabled") : 0;
}

/* The lock is taken first: from here on nobody takes the directory for an abandoned one. Without a
 * supervisor it is `start` that enables one, later. */
static int populate(struct state *s, struct run *run, const char *config, bool supervised)
{
	struct settings *settings = &run->settings;
	auto_fd lock = state_lock(s);
	int r = lock;

	if (r >= 0)
		r = file_replace(s->dirfd, "config.json", config, strlen(config), 0600);
	if (r == 0)
		r = files_write(&run->files, &run->spec, settings, s->dirfd);
	if (r == 0)
		r = listen_write(s->dirfd, run->listeners, run->listener_count);
	if (r == 0 && (settings->flags & SETTINGS_HEALTH))
		r = health_write(s->dirfd, &run->health);
	if (r == 0)
		r = rules_write(s->dirfd, &run->rules);
	if (r == 0)
		r = settings_write(s->dirfd, settings);
	if (r < 0 || !supervised)
		return r < 0 ? r : 0;
	r = enabled_create(s->dirfd);
	return r == 0 ? keeper_start(s, fd_take(&lock), -1) : r;
}

static int create(struct run *run, const char *config, struct state *s, bool supervised)
{
	struct settings *settings = &run->settings;
	int r;

	state_log_dir(run->log_dir, settings->id, settings->log_dir, sizeof(settings->log_dir));
	settings->real_created = now_real();
	r = state_create(settings->id, settings->log_dir, s);
	if (r != STATE_DONE)
		return r;
	r = populate(s, run, config, supervised);
	if (r < 0)
		state_discard(s, settings->log_dir);
	return r;
}

/* Nobody was told to start it: it must not stay behind. */
static void undo(struct client *c, struct state *s)
{
	int r = c->fd >= 0 ? client_remove(c, true) : 0;

	client_close(c);
	if (r == 0 && state_current(s))
		r = state_remove(s);
	if (r < 0)
		complain("warning: \"%s\" is left behind: %s (holdfast rm -f %s)", s->id,
			r == -EBUSY ? "it is supervised" : fault_text(), s->id);
	else
		keeper_group_discard(s->id);
}

static int supervisor_lost(const struct state *s)
{
	complain("the supervisor of \"%s\" is gone (its log: %s/local/%s/shim.log)", s->id,
		state_root(), s->id);
	return CLI_BROKEN;
}

static int ended(struct client *c, const struct packet *p, const char *command)
{
	struct exit_info exit;

	memcpy(&exit, p->body, sizeof(exit));
	if (attach_removes(&exit))
		client_remove(c, true);
	return attach_ended(&exit, command);
}

/* The news of its start may have died with a supervisor: a short life is one. */
static bool lived(const struct packet *p)
{
	struct exit_info exit;

	memcpy(&exit, p->body, sizeof(exit));
	return exit.run > 0 && !(exit.flags & EXIT_START_FAILED);
}

/* -d: until the service runs (and, with --notify, says so), or does not. */
static int start_detached(struct client *c, const struct state *s, const char *command, bool notify)
{
	struct client_started started;
	struct launch_result failed;
	struct packet p;
	int r = client_send(c, CLIENT_START, NULL, 0);

	if (r != CLIENT_DONE) {
		complain("%s", r < 0 ? fault_text() : "the supervisor is gone");
		return ATTACH_NOT_STARTED;
	}
	attach_unblock_signals(); /* from here on ^C ends this command, not the container */
	r = client_started(c, &p);
	if (r < 0)
		return give_up(CLI_BROKEN);
	if (r == CLIENT_GONE)
		return supervisor_lost(s);
	if (p.h.verb == CLIENT_FAILED) {
		memcpy(&failed, p.body, sizeof(failed));
		client_remove(c, true); /* it does so by itself: this waits for it */
		return attach_failed(&failed);
	}
	if (p.h.verb == CLIENT_EXITED) {
		if (notify || !lived(&p))
			return ended(c, &p, command);
		printf("%s\n", s->id);
		return CLI_OK;
	}
	memcpy(&started, p.body, sizeof(started));
	attach_warnings(&started);
	r = notify ? client_ready(c, &p) : CLIENT_DONE;
	if (r < 0)
		return give_up(CLI_BROKEN);
	if (r == CLIENT_GONE)
		return supervisor_lost(s);
	if (p.h.verb == CLIENT_EXITED)
		return ended(c, &p, command);
	printf("%s\n", s->id);
	return CLI_OK;
}

static int supervisor_gone(const struct state *s)
{
	complain(
		"the supervisor of \"%s\" is gone before the start (nothing is left of it)", s->id);
	return ATTACH_NOT_STARTED;
}

static int start(const struct run *run, struct state *s)
{
	struct attach_conf conf = {
		.tty = run->tty,
		.interactive = run->interactive,
		.remove = run->remove,
		.log_dir = run->settings.log_dir,
		.command = run->spec.argv[0],
		.detach_keys = run->detach_keys,
	};
	struct client c = {.fd = -1};
	int r = client_open(&c, s), status;

	if (r < 0)
		status = give_up(ATTACH_NOT_STARTED);
	else if (r == CLIENT_GONE)
		status = supervisor_gone(s);
	else if (run->detach && attach_interrupted())
		status = ATTACH_NOT_STARTED;
	else
		status = run->detach ? start_detached(&c, s, conf.command, run->notify)
				     : attach_run(&c, s, &conf);
	if (status == ATTACH_NOT_STARTED) {
		undo(&c, s);
		status = CLI_BROKEN;
	}
	client_close(&c);
	return status;
}

static int name_taken(const struct run *run)
{
	complain("container name \"%s\" is in use (use another --name, or holdfast rm %s)",
		run->settings.id, run->settings.id);
	return CLI_BROKEN;
}

static int create_only(struct run *run, const char *config)
{
	struct state s = {.dirfd = -1};
	int r;

	attach_block_signals(); /* made as a whole or not at all */
	r = create(run, config, &s, false);
	attach_unblock_signals();
	state_close(&s);
	if (r < 0)
		return give_up(CLI_BROKEN);
	if (r == STATE_EXISTS)
		return name_taken(run);
	printf("%s\n", run->settings.id);
	return CLI_OK;
}

static int create_and_start(struct run *run, const char *config)
{
	struct state s = {.dirfd = -1};
	int r, status;

	attach_block_signals();
	r = create(run, config, &s, true);
	if (r < 0)
		return give_up(CLI_BROKEN);
	if (r == STATE_EXISTS)
		return name_taken(run);
	status = start(run, &s);
	state_close(&s);
	if (run->detach)
		attach_unblock_signals(); /* one that came before the start takes effect now */
	return status;
}

/* A default that this host can't keep is left out; what was asked for by name is refused later. */
static void degrade(struct run *run, const struct cghier *h)
{
	if (run_degrade(run, h))
		complain(
			"warning: this host has no pids cgroup controller: the number of processes is not limited (--pids-limit 0 says that this is wanted)");
}

static int print_only(const char *config)
{
	printf("%s\n", config);
	return CLI_OK;
}

static int carry_out(struct run *run)
{
	auto_free char *config = NULL;
	struct cghier h;
	int r = choose_id(run);

	if (run->print_rules) {
		opt_rules_print(run);
		return CLI_OK;
	}
	if (r == 0 && !run->spec.print && !run->print_rules)
		r = keeper_check();
	if (r < 0)
		return give_up(CLI_BROKEN);
	/* mountinfo is among the dearest files to read: not for a bundle, which has no defaults */
	if ((!run->spec.bundle || run->rules.len) && cghier_find(&h) == 0) {
		if (!run->spec.bundle)
			degrade(run, &h);
		r = opt_rules_check(run, &h);
	}
	if (r < 0)
		return give_up(CLI_USAGE);
	if (run->rules_left_out[0])
		complain("warning: --preset: left out: %s", run->rules_left_out);
	if (r == RULES_ROUNDED)
		complain(
			"warning: without CAP_SYS_RESOURCE the kernel takes windows of pressure in "
			"steps of 2s: the rules' were rounded up");
	if (files_mount(&run->files, &run->spec, &run->settings) < 0)
		return give_up(CLI_BROKEN);
	if (spec_build(&run->spec, &run->settings, &config) < 0)
		return give_up(CLI_USAGE);
	if (run->spec.print)
		return print_only(config);
	return run->create ? create_only(run, config) : create_and_start(run, config);
}

static int command_make(struct run *run, int argc, char **argv)
{
	int r = run_parse(run, argc, argv), status;

	if (r < 0)
		return give_up(CLI_USAGE);
	if (r == RUN_HELP)
		return CLI_OK;
	if (geteuid() != 0 && !run->spec.print && !run->print_rules) {
		complain("%s needs root: namespaces, mounts and cgroups are made (use sudo)",
			argv[0]);
		return CLI_BROKEN;
	}
	status = carry_out(run);
	run_finish(run);
	return status;
}

int command_run(int argc, char **argv)
{
	static struct run run; /* 3 KiB of settings */

	return command_make(&run, argc, argv);
}

int command_create(int argc, char **argv)
{
	static struct run run = {.create = true};

	return command_make(&run, argc, argv);
}
