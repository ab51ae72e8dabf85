/* The engine: an event moves the life table on, and the table's actions do the work. Events raised
 * by an action wait until the actions of this one are done. */
#include "shim/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"
#include "ipc/base/log.h"
#include "ipc/base/mem.h"
#include "ipc/base/pages.h"
#include "ipc/base/proc.h"
#include "ipc/base/sig.h"
#include "ipc/fds.h"
#include "monitor/cgfs.h"
#include "shim/oom.h"

#define PROGRESS_USEC USEC_PER_SEC
#define SETTLE_USEC   (400 * USEC_PER_MSEC)
#define HANG_USEC     (5 * USEC_PER_SEC)

bool shim_has_init(const struct shim *s)
{
	return !(s->settings.flags & SETTINGS_NO_INIT);
}

/* Actions ---------------------------------------------------------------------------------------
 */

static void act_launch(struct shim *s)
{
	struct rec_launch intent = {0};
	struct launch_req req;

	if (random_bytes(&intent.nonce, sizeof(intent.nonce)) < 0 || intent.nonce == 0)
		intent.nonce = now_boot();
	snprintf(intent.cgroup, sizeof(intent.cgroup), "%s", s->settings.cgroup);
	intent.cgroup_kept = cgfs_existing(&s->hier, s->settings.cgroup);
	s->launch_nonce = req.nonce = intent.nonce;
	s->init_exited = s->init_status_known = false;
	s->start_errno = 0;
	if (s->shared) {
		s->shared->boot_started = 0; /* a run that never starts was not healthy for long */
		oom_begin(s);
	}
	if (!shim_has_init(s) && s->shared) /* nobody else counts its runs */
		s->shared->run = s->journal.now.run + 1;
	journal_append(
		&s->journal, RECORD_LAUNCH_INTENT, 0, s->journal.now.run, &intent, sizeof(intent));
	link_keeper_send(s, KEEPER_LAUNCH, &req, sizeof(req), -1);
}

static void act_start(struct shim *s)
{
	struct rec_launched done = {.nonce = s->launch_nonce, .pid = s->launched.pid};

	done.starttime = proc_starttime(done.pid);
	journal_append(&s->journal, RECORD_LAUNCHED, 0, s->journal.now.run, &done, sizeof(done));
	if (s->launched.warnings)
		journal_warn(&s->journal, "%s", s->launched.text);
	link_init_keep_edge(s); /* it starts nothing before it has all that an adopter needs */
	link_init_send(s, INIT_START, 0, NULL, 0);
	if (s->init_exited) /* it was faster than the news of its birth */
		shim_event(s, LIFE_ON_INIT_GONE);
}

void shim_started_info(const struct shim *s, struct client_started *ret)
{
	*ret = (struct client_started){
		.run = s->journal.now.run,
		.pid = s->service_pid,
		.init_pid = s->journal.now.init_pid,
		.warnings = s->launched.warnings,
	};
	if (s->launched.warnings)
		memcpy(ret->text, s->launched.text, sizeof(ret->text));
}

bool shim_ready(const struct shim *s)
{
	return s->shared && s->shared->run && s->journal.now.ready_run == s->shared->run;
}

void shim_announce_ready(struct shim *s)
{
	if (s->phase == PHASE_RUNNING)
		loop_timer_cancel(&s->progress_timer);
	if (shim_ready(s))
		clients_broadcast(s, CLIENT_READY, NULL, 0);
}

static void act_announce(struct shim *s)
{
	struct client_started started;

	pidfile_write(s);
	shim_started_info(s, &started);
	clients_broadcast(s, CLIENT_STARTED, &started, sizeof(started));
	pump_run_beside(&s->pump, s->journal.now.init_pid);
	health_began(s);
	shim_settle(s);
	if (!(s->settings.flags & SETTINGS_NOTIFY))
		return;
	if (shim_ready(s)) /* it was faster than the news of its start */
		shim_announce_ready(s);
	else
		loop_timer_set(&s->progress_timer, PROGRESS_USEC);
}

static void act_kill(struct shim *s)
{
	clean_kill(s);
	if (!s->init_exited && s->init_pidfd.loop && s->init_pidfd.fd >= 0)
		pidfd_kill(s->init_pidfd.fd, SIGKILL);
	else
		shim_event(s, LIFE_ON_INIT_GONE); /* nobody will tell again */
}

static void act_delay(struct shim *s)
{
	if (s->shared)
		policy_went_fresh(&s->shared->policy);
	loop_timer_set(&s->fresh_timer, s->fresh_delay_usec);
}

static void act_down(struct shim *s)
{
	struct exit_info last = s->first_failed ? s->first_failure : s->journal.now.last;

	loop_timer_cancel(&s->stop_timer);
	last.action = POLICY_STAY_DOWN;
	if (!last.run && !s->first_failed) { /* stopped before it ever ran: no status of its own,
					 and no success */
		last.flags |= EXIT_START_FAILED | EXIT_STOPPED;
		last.code = 125;
		last.errnum = ECANCELED;
	}
	journal_append(&s->journal, RECORD_DOWN, 0, last.run, &last, sizeof(last));
	listeners_close(s); /* whoever is told may take the address at once */
	clients_broadcast(s, CLIENT_EXITED, &last, sizeof(last));
	retire_begin(s);
}

static const struct {
	uint32_t bit;
	void (*act)(struct shim *s);
} actions[] = {
	{ACT_LAUNCH, act_launch},
	{ACT_START, act_start},
	{ACT_ANNOUNCE, act_announce},
	{ACT_FAILED, exits_launch_failed},
	{ACT_STOP, stop_pass_on},
	{ACT_KILL, act_kill},
	{ACT_DECIDE, exits_decide},
	{ACT_CLEAN, clean_begin},
	{ACT_DELAY, act_delay},
	{ACT_ABORT, link_keeper_abort},
	{ACT_DOWN, act_down},
};

/* Events ----------------------------------------------------------------------------------------
 */

void shim_set_phase(struct shim *s, enum life_phase phase)
{
	bool waits = phase == PHASE_LAUNCHING || phase == PHASE_STOPPING ||
		     phase == PHASE_ABORTING || phase == PHASE_CLEAN_DOWN;

	if (s->phase == phase)
		return;
	s->phase = phase;
	s->phase_since = now_mono();
	if (waits)
		loop_timer_set(&s->progress_timer, PROGRESS_USEC);
	else
		loop_timer_cancel(&s->progress_timer);
}

static void handle(struct shim *s, enum life_event e)
{
	struct life_step step = life_step(s->phase, e);

	log_debug("%s: %s -> %s", life_event_name(e), phase_name(s->phase), phase_name(step.next));
	shim_set_phase(s, step.next);
	for (size_t i = 0; i < array_size(actions); i++)
		if (step.actions & actions[i].bit)
			actions[i].act(s);
}

void shim_event(struct shim *s, enum life_event e)
{
	if (s->queued < array_size(s->queue))
		s->queue[s->queued++] = e;
	if (s->in_event)
		return;
	s->in_event = true;
	while (s->queued > 0) {
		e = s->queue[0];
		memmove(&s->queue[0], &s->queue[1], --s->queued * sizeof(e));
		handle(s, e);
	}
	s->in_event = false;
}

static void on_fresh_timer(struct loop_timer *t)
{
	shim_event(t->ctx, LIFE_ON_TIMER);
}

/* After a while without anything new: a service that dies at once finds the shim ready. */
void shim_settle(struct shim *s)
{
	loop_timer_set(&s->settle_timer, SETTLE_USEC);
}

static void on_settled(struct loop_timer *t)
{
	pages_forget();
}

static void on_progress(struct loop_timer *t)
{
	struct shim *s = t->ctx;

	clients_progress(s, "%s: %s", s->settings.id,
		s->phase == PHASE_LAUNCHING    ? "setting up the sandbox"
		: s->phase == PHASE_RUNNING    ? "waiting for READY=1 from the service"
		: s->phase == PHASE_STOPPING   ? "waiting for the service to stop"
		: s->phase == PHASE_CLEAN_DOWN ? "waiting for processes to die"
					       : "stopping");
}

/* Boot ------------------------------------------------------------------------------------------
 */

static void init_fields(struct shim *s)
{
	memset(s, 0, sizeof(*s));
	s->pid = getpid();
	s->keeper.fd = s->init.fd = s->bell.fd = s->init_pidfd.fd = -1;
	s->sync_pidfd = s->shared_fd = s->tty = s->stdin_fd = s->log_dirfd = -1;
	s->tty_pipe[0] = s->tty_pipe[1] = s->spools[0] = s->spools[1] = -1;
	listeners_init(s);
	s->calls_held = s->rules_held = -1;
	for (int i = 0; i < SOCKETS; i++)
		s->sockets[i] = -1;
}

static void on_appended(void *ctx)
{
	serve_changed(ctx);
	overload_changed(ctx);
}

static int open_log_dir(struct shim *s)
{
	int r = dir_make(AT_FDCWD, s->settings.log_dir, 0700);

	if (r < 0)
		return r;
	s->log_dirfd = open(s->settings.log_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return s->log_dirfd < 0 ? fault(-errno, "open %s", s->settings.log_dir) : 0;
}

int shim_init(struct shim *s, const char *id)
{
	struct rec_shim rec;
	int r, fresh;

	init_fields(s);
	r = loop_init(&s->loop);
	if (r == 0)
		r = settings_read(SHIM_FD_STATE, &s->settings);
	if (r == 0)
		r = cghier_find(&s->hier);
	if (r == 0)
		r = open_log_dir(s);
	if (r < 0)
		return r;
	loop_timer_init(&s->fresh_timer, &s->loop, on_fresh_timer, s);
	loop_timer_init(&s->progress_timer, &s->loop, on_progress, s);
	loop_timer_init(&s->settle_timer, &s->loop, on_settled, s);
	link_init_setup(s);
	notify_setup(s);
	health_setup(s);
	stop_setup(s);
	retire_setup(s);
	takeover_setup(s);
	serve_setup(s);
	post_mortem_setup(s);
	fresh = journal_open(&s->journal, SHIM_FD_STATE, s->settings.id);
	if (fresh < 0)
		return fresh;
	if (s->health.state && s->health.state->exits_seen > s->journal.now.exit_seq) {
		s->journal.now.exit_seq = s->health.state->exits_seen;
		s->journal.now.exit_count = 1; /* a probe's */
	}
	s->journal.appended = on_appended;
	s->journal.ctx = s;
	r = pump_start(&s->pump, &s->loop, s->log_dirfd, &s->settings, output_changed, s);
	if (r == 0)
		r = link_keeper_sync(s, SHIM_FD_KEEPER);
	if (r < 0)
		return r;
	if (fresh)
		journal_append(&s->journal, RECORD_CREATED, 0, 0, NULL, 0);
	rec = (struct rec_shim){
		.shim_pid = s->pid,
		.keeper_pid = s->hello.keeper_pid,
		.revivals = s->hello.revivals,
		.adopted = s->hello.adopted,
	};
	journal_append(&s->journal, RECORD_SHIM, 0, s->journal.now.run, &rec, sizeof(rec));
	post_mortem_recover(s);
	r = loop_guard(&s->loop, HANG_USEC);
	if (r == 0)
		r = overload_setup(s);
	if (r == 0)
		r = shim_recover(s);
	if (!s->sync_tag) /* else when init has told everything */
		pump_pause(&s->pump, false);
	if (r == 0)
		link_keeper_send(s, KEEPER_READY, NULL, 0, -1);
	return r;
}
