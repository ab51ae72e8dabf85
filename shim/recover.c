/* Where a shim finds its container when it comes to life: the journal says what was intended and
 * seen, the keeper what is held, the shared memory and the kernel what is true now. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/log.h"
#include "ipc/base/proc.h"
#include "ipc/fds.h"
#include "monitor/cgfs.h"
#include "shim/shim.h"

/* The sandbox stands (or stood a moment ago): which of its phases is it in? */
static enum life_phase phase_of_sandbox(const struct shim *s)
{
	const struct history *h = &s->journal.now;

	if (h->state == LIFE_LAUNCHED)
		return h->stopping ? PHASE_STOPPING : PHASE_STARTING;
	if (h->state == LIFE_BACKOFF && h->last.action == POLICY_STAY_DOWN)
		return PHASE_LEAVE_DOWN;
	if (h->state == LIFE_BACKOFF && h->last.action == POLICY_START_FRESH)
		return h->stopping ? PHASE_LEAVE_DOWN : PHASE_LEAVE_FRESH;
	if (h->stopping)
		return PHASE_STOPPING;
	return h->state == LIFE_BACKOFF ? PHASE_DELAY : PHASE_RUNNING;
}

/* Without init: what was told over its channel, once, may have been told to the predecessor. */
static void rejoin_service(struct shim *s)
{
	struct client_started started;

	if (s->phase == PHASE_STARTING && !(s->init.loop && s->init.fd >= 0)) {
		link_init_service_up(s);
	} else if (s->phase == PHASE_RUNNING || s->phase == PHASE_STOPPING) {
		link_init_terminal(s);
		shim_started_info(s, &started);
		clients_broadcast(s, CLIENT_STARTED, &started, sizeof(started));
	}
	/* without init a stop is timed here: the grace begins anew, by what was asked */
	if (s->phase == PHASE_STOPPING) {
		s->stop = s->journal.now.stop;
		stop_pass_on(s);
	} else if (s->phase == PHASE_RUNNING && s->journal.now.restarting) {
		restart_without_init(s, s->journal.now.stop);
	}
}

static void rejoin(struct shim *s)
{
	const struct history *h = &s->journal.now;

	shim_set_phase(s, phase_of_sandbox(s));
	s->service_pid = h->pid;
	if (s->phase == PHASE_RUNNING)
		pidfile_write(s); /* the predecessor may have died over it */
	link_init_keep_edge(s);	  /* the same */
	if (h->state == LIFE_LAUNCHED)
		link_init_send(s, INIT_START, 0, NULL, 0); /* a second one does nothing */
	/* a predecessor may have died between writing it down and telling it */
	if (shim_has_init(s))
		link_init_send(s, INIT_POLICY, 0, &s->settings.policy, sizeof(s->settings.policy));
	pause_recover(s);
	if (s->phase == PHASE_STOPPING && shim_has_init(s) && s->shared &&
		!s->shared->policy.down) {
		/* intended, never delivered */
		s->stop = h->stop;
		stop_pass_on(s);
	}
	if (!shim_has_init(s))
		rejoin_service(s);
	link_init_sync(s);
	pump_run_beside(&s->pump, s->journal.now.init_pid);
	if (s->phase == PHASE_RUNNING)
		health_began(s);
	shim_settle(s);
}

/* A launch was intended. The keeper tells its outcome; if it never heard of it, it is asked now. */
static void rejoin_launch(struct shim *s)
{
	struct launch_req req = {.nonce = s->launch_nonce};

	shim_set_phase(s, s->journal.now.stopping ? PHASE_ABORTING : PHASE_LAUNCHING);
	if (s->hello.launch_nonce != s->launch_nonce) {
		/* what a launch under a dead keeper has made is nobody's child: away with it */
		link_init_forget(s);
		clean_kill(s);
		link_keeper_send(s, KEEPER_LAUNCH, &req, sizeof(req), -1);
	}
	if (s->phase == PHASE_ABORTING)
		link_keeper_abort(s);
}

/* PID 1 by its journalled identity: a pid alone may be somebody else's by now. */
static void kill_orphan(const struct history *h)
{
	auto_fd pidfd = h->init_pid > 1 ? pidfd_open_pid(h->init_pid) : -1;

	if (pidfd >= 0 && h->init_starttime && proc_starttime(h->init_pid) == h->init_starttime)
		pidfd_kill(pidfd, SIGKILL);
}

/* Shared memory is as new as its pair, and may know no run yet: runs are counted on from the
 * journal's, or one would be taken for one that has ended. */
static void number_run(struct shim *s)
{
	if (s->shared && s->journal.now.run > s->shared->run)
		s->shared->run = s->journal.now.run;
}

/* Supervisors and sandbox all died, or the host went down: nobody saw how it ended. */
static void lost(struct shim *s, bool same_boot, const char *why)
{
	journal_warn(&s->journal, "%s", why);
	exits_read(s, EXITS_ALL); /* the ring may know more than anybody who is left */
	number_run(s);
	if (s->shared && s->journal.now.stopping)
		s->shared->policy.down = 1;
	if (same_boot)
		kill_orphan(&s->journal.now);
	clean_kill(s);
	shim_set_phase(s, PHASE_DECIDE);
	exits_decide(s);
}

/* Its exit is journalled and its PID 1 gone. One that was to go on in place has died before it did:
 * what follows is a fresh start. */
static void resume_fresh(struct shim *s)
{
	const struct history *h = &s->journal.now;
	bool down = h->last.action == POLICY_STAY_DOWN || h->stopping ||
		    (s->shared && s->shared->policy.down);

	kill_orphan(h);
	s->fresh_delay_usec = h->last.delay_usec;
	shim_set_phase(s, PHASE_DECIDE);
	shim_event(s, down ? LIFE_ON_EXIT_DOWN : LIFE_ON_EXIT_FRESH);
}

/* The file `start`: put there under the lock, while nobody supervised, by a client that wants a
 * container up which was never started or has ended. It says so once. */
static int open_anew(struct shim *s, const char *boot)
{
	const struct history *h = &s->journal.now;
	bool asked = faccessat(SHIM_FD_STATE, "start", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	bool same_boot = strcmp(boot, h->boot_id) == 0;
	struct exit_info lost_run = {
		.run = h->run, .count = 1, .flags = EXIT_INFERRED | EXIT_UNKNOWN};
	int r = 0;

	if (!asked)
		return 0;
	if (!same_boot && h->pid) /* it ended with the host, and nobody saw how */
		journal_append(&s->journal, RECORD_EXIT_GAP, RECORD_INFERRED, h->run, &lost_run,
			sizeof(lost_run));
	if (!same_boot)
		r = journal_rebase(&s->journal, boot);
	if (r == 0 && (!same_boot || h->state == LIFE_NEW || h->state == LIFE_DOWN))
		journal_append(&s->journal, RECORD_OPENED, 0, h->run, NULL, 0);
	if (r == 0)
		unlinkat(SHIM_FD_STATE, "start", 0);
	return r;
}

int shim_recover(struct shim *s)
{
	const struct history *h = &s->journal.now;
	char boot[BOOT_ID_LEN + 1];
	struct exit_info last;
	int r = boot_id(boot);

	if (r == 0)
		r = open_anew(s, boot);
	if (r < 0)
		return r;
	s->launch_nonce = h->launch_nonce;
	s->remove = h->removing;
	if (s->shared &&
		h->exit_seq > s->shared->head) /* journalled, and killed before it was published */
		s->shared->head = s->shared->acked = h->exit_seq;
	number_run(s);
	if (h->state == LIFE_NEW) {
		shim_set_phase(s, PHASE_NEW);
	} else if (h->state == LIFE_DOWN) {
		shim_set_phase(s, PHASE_DOWN);
		last = h->last;
		clients_broadcast(s, CLIENT_EXITED, &last, sizeof(last));
		retire_begin(s);
	} else if (strcmp(boot, h->boot_id) != 0) {
		lost(s, false, "the host was restarted: the container is gone");
	} else if (h->state == LIFE_LAUNCHING) {
		rejoin_launch(s);
	} else if (h->init_pid == 0 || (h->state == LIFE_BACKOFF && !s->init_pidfd.loop)) {
		resume_fresh(s); /* its sandbox is gone and its exit is journalled */
	} else if (s->init_pidfd.loop) {
		rejoin(s);
	} else {
		lost(s, true, "keeper and shim died: the container can't be supervised any more");
	}
	return 0;
}
