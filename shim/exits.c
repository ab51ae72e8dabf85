/* From exit records to the journal and the life table. Records come from init's ring (written
 * inside the container: nothing in them is trusted but their shape) or, when PID 1 is gone without
 * one, from what the reaper saw; else they are inferred and say so. */
#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/log.h"
#include "shim/oom.h"
#include "shim/shim.h"

#define RECORD_INVALID 1

int exits_ring_read(const struct shim *s, uint64_t seq, struct exit_record *r)
{
	if (pread(s->shared_fd, r, sizeof(*r), (off_t)shared_slot(seq)) != sizeof(*r))
		return RECORD_INVALID;
	if (r->seq != seq || r->sum != exit_sum(r) || r->code > 255 || r->signal > 127)
		return RECORD_INVALID;
	return 0;
}

/* The wall clock's reading for a boottime one. */
static uint64_t real_at(uint64_t boot_usec)
{
	uint64_t boot = now_boot();

	return now_real() - (boot > boot_usec ? boot - boot_usec : 0);
}

static struct exit_info info_of(const struct shim *s, const struct exit_record *r)
{
	return (struct exit_info){
		.seq = r->seq,
		.run = r->run,
		.flags = r->flags,
		.code = r->code,
		.signal = r->signal,
		.errnum = r->errnum,
		.step = r->step,
		.action = r->verdict,
		.reason = r->reason,
		.count = r->count,
		.killed = r->killed,
		.delay_usec = r->delay_usec,
		.boot_start = r->boot_start,
		.boot_end = r->boot_end,
		.real_end = real_at(r->boot_end),
		.utime_usec = r->utime_usec,
		.stime_usec = r->stime_usec,
		.maxrss_kib = r->maxrss_kib,
		.restarts = s->shared->policy.restarts,
	};
}

/* A later run may have written to its pipes, before anybody here has heard of that one. */
static bool shares_pipes(const struct shim *s, uint32_t run)
{
	uint32_t from;

	if (!s->shared || __atomic_load_n(&s->shared->run, __ATOMIC_ACQUIRE) <= run)
		return false;
	from = __atomic_load_n(&s->shared->shares_from, __ATOMIC_ACQUIRE);
	return from && from <= run;
}

/* Where the run's output ends on each stream; its processes are all dead. */
static uint8_t close_output(struct shim *s, struct exit_info *e)
{
	bool out_exact, err_exact;

	pump_run_dead(&s->pump, e->run);
	e->stdout_end = pump_run_end(&s->pump, LOG_STDOUT, e->run, &out_exact);
	e->stderr_end = pump_run_end(&s->pump, LOG_STDERR, e->run, &err_exact);
	return out_exact && err_exact && !shares_pipes(s, e->run) ? RECORD_OBSERVED
								  : RECORD_INFERRED;
}

static enum life_event verdict_event(uint32_t action)
{
	return action == POLICY_IN_PLACE      ? LIFE_ON_EXIT_AGAIN
	       : action == POLICY_START_FRESH ? LIFE_ON_EXIT_FRESH
					      : LIFE_ON_EXIT_DOWN;
}

/* A container whose very first run can't be executed is a mistake, not a service to keep alive. */
static void fail_first(struct shim *s, struct exit_info *e)
{
	bool decided_here = s->phase == PHASE_DECIDE;

	if (s->first_failed || !(e->flags & EXIT_START_FAILED) || s->journal.now.up_once)
		return;
	s->first_failed = true;
	s->first_failure = *e;
	if (e->action != POLICY_STAY_DOWN && !decided_here)
		stop_begin(s, (struct stop_req){.has_grace = 1}, CLIENT_STOP);
	if (decided_here)
		e->action = POLICY_STAY_DOWN;
}

/* state: the policy's, to be made the container's, and r NULL; or what init saw, who has done so.
 */
static void run_ended(struct shim *s, struct exit_info *e, const struct exit_record *r,
	const struct policy_state *state)
{
	uint8_t flags = close_output(s, e);

	health_ended(s);
	s->service_pid = 0;
	s->fresh_delay_usec = e->delay_usec;
	journal_append(&s->journal, RECORD_EXITED, flags, e->run, e, sizeof(*e));
	if (state) {
		s->shared->policy = *state;
		s->shared->head = s->shared->acked = e->seq;
	}
	post_mortem_add(s, e, r);
	fail_first(s, e);
	shim_event(s, verdict_event(e->action));
}

/* Every few seconds for ever: the journal is not told, but how far the ring is read must be known
 * to a successor. */
static void probe_ended(struct shim *s, const struct exit_record *r)
{
	probes_exec_ended(s, r);
	s->journal.now.exit_seq = r->seq;
	s->journal.now.exit_count = 1;
	if (s->health.state)
		s->health.state->exits_seen = r->seq;
}

/* More exits of different ends than PID 1 has places for: what it says is the newest one's, which
 * may have been the last. */
static void gap_taken(struct shim *s, struct exit_info *e)
{
	uint8_t flags = close_output(s, e);

	health_ended(s);
	s->service_pid = 0;
	s->fresh_delay_usec = e->delay_usec;
	journal_append(&s->journal, RECORD_EXIT_GAP, flags, e->run, e, sizeof(*e));
	shim_event(s, verdict_event(e->action));
}

static void record_taken(struct shim *s, const struct exit_record *r)
{
	struct exit_info e = info_of(s, r);

	oom_narrow(s, &e, r->oom_kills);
	switch (r->kind) {
	case EXIT_SERVICE:
		run_ended(s, &e, r, NULL);
		break;
	case EXIT_EXEC:
		if (probes_exec_is(r->exec_id))
			probe_ended(s, r);
		else
			execs_ended(s, r, &e);
		break;
	case EXIT_OOM:
		journal_append(&s->journal, RECORD_OOM, 0, e.run, &e, sizeof(e));
		break;
	case EXIT_GAP:
		gap_taken(s, &e);
		break;
	default: /* of a later release */
		break;
	}
}

/* A slot that is not what its number says: its exit is lost, and that is what the journal says. */
static void record_lost(struct shim *s, uint64_t seq)
{
	struct exit_info e = {
		.seq = seq, .run = s->shared->run, .flags = EXIT_INFERRED, .count = 1};

	e.flags |= EXIT_UNKNOWN;
	journal_append(&s->journal, RECORD_EXIT_GAP, RECORD_INFERRED, e.run, &e, sizeof(e));
}

/* Also what a predecessor journalled and did not live to acknowledge. While PID 1 lives it is who
 * notes it: it counts further exits into the newest record until then. */
static void acknowledge(struct shim *s)
{
	const struct history *h = &s->journal.now;
	const struct ack_req ack = {.value = h->exit_seq, .count = h->exit_count};

	if (s->shared->acked >= ack.value)
		return;
	if (!shim_has_init(s) || s->init.fd < 0)
		s->shared->acked = ack.value; /* also when its PID 1 died over the word */
	else if (s->exits_acked < ack.value &&
		 link_init_send(s, INIT_ACK, 0, &ack, sizeof(ack)) == 0)
		s->exits_acked = ack.value;
}

void exits_read(struct shim *s, uint64_t upto, uint32_t before_run)
{
	uint64_t seq, head;
	struct exit_record r;

	if (!s->shared)
		return;
	head = __atomic_load_n(&s->shared->head, __ATOMIC_ACQUIRE);
	head = upto < head ? upto : head;
	seq = s->journal.now.exit_seq;
	if (head > seq &&
		head - seq > EXIT_SLOTS) /* a ring holds no more: what is older was overwritten */
		seq = head - EXIT_SLOTS;
	while (seq < head) {
		bool whole = exits_ring_read(s, ++seq, &r) == 0;

		if (whole && r.run >= before_run)
			break;
		if (whole)
			record_taken(s, &r);
		else
			record_lost(s, seq);
	}
	acknowledge(s);
}

bool exits_behind(const struct shim *s)
{
	return s->shared &&
	       __atomic_load_n(&s->shared->head, __ATOMIC_ACQUIRE) > s->journal.now.exit_seq;
}

/* Without init's word ---------------------------------------------------------------------------
 */

static void status_into(const struct shim *s, struct exit_info *e)
{
	int status = s->init_end.status;

	if (shim_has_init(s)) {
		/* the kernel killed the service with its PID 1; nobody saw the service's own status
		 */
		e->flags |= EXIT_INFERRED;
		e->signal = 9;
	} else if (!s->init_status_known) {
		e->flags |= EXIT_INFERRED | EXIT_UNKNOWN;
	} else if (WIFSIGNALED(status)) {
		e->signal = (uint32_t)WTERMSIG(status);
		e->flags |= WCOREDUMP(status) ? EXIT_CORE : 0;
	} else {
		e->code = (uint32_t)WEXITSTATUS(status);
	}
	e->utime_usec = s->init_end.utime_usec;
	e->stime_usec = s->init_end.stime_usec;
	e->maxrss_kib = s->init_end.maxrss_kib;
}

/* Without init: the service-to-be said on its channel why it could not become the service. */
static void start_failure_into(const struct shim *s, struct exit_info *e)
{
	if (!s->start_errno)
		return;
	e->flags |= EXIT_START_FAILED;
	e->step = s->start_step;
	e->errnum = s->start_errno;
	e->signal = 0;
	e->code = e->step == SPAWN_EXEC && s->start_errno == ENOENT ? 127 : 126;
}

/* The restart verb is the operator's word: neither policy nor budget have a say or count it. */
static struct policy_verdict verdict_again(struct policy_state *state)
{
	state->restarts++;
	policy_went_fresh(state);
	return (struct policy_verdict){.action = POLICY_START_FRESH, .reason = POLICY_WHY_RESTART};
}

/* `state` is a copy: it counts only once the exit is journalled. */
static void apply_policy(struct shim *s, struct policy_state *state, struct exit_info *e)
{
	const struct policy_conf *conf = &s->settings.policy;
	struct policy_exit pe = {
		/* what nobody knows is no success */
		.code = e->flags & EXIT_UNKNOWN ? 125 : e->code,
		.signal = e->signal,
		.oom = e->flags & EXIT_OOM_SEEN,
		.healthy = s->journal.now.ready_run == e->run ||
			   (e->boot_start && e->boot_end - e->boot_start >= conf->healthy_usec),
		.now_usec = now_mono(),
	};
	struct policy_verdict v;

	if (s->journal.now.unhealthy.run == e->run) {
		pe.signal = 0; /* whatever its status: that is no success */
		pe.code = POLICY_FAILED;
	}
	if (s->journal.now.stopping)
		state->down = 1; /* init may have died with the stop unheard */
	v = s->journal.now.restarting && !state->down ? verdict_again(state)
						      : policy_decide(conf, state, &pe);
	if (pe.healthy)
		e->flags |= EXIT_HEALTHY;
	if (state->down)
		e->flags |= EXIT_STOPPED;
	e->action = v.action == POLICY_STAY_DOWN ? POLICY_STAY_DOWN : POLICY_START_FRESH;
	e->reason = v.reason;
	e->delay_usec = v.delay_usec;
	e->restarts = state->restarts;
}

/* An exit that init has not written: journalled first, then made the ring's and the policy's.
 * Killed in between, the successor raises the ring to the journal. */
static void end_by_policy(struct shim *s, struct exit_info *e)
{
	struct policy_state state = s->shared->policy;

	apply_policy(s, &state, e);
	e->seq = s->shared->head + 1;
	if (e->seq <= s->journal.now.exit_seq)
		e->seq = s->journal.now.exit_seq + 1;
	s->shared->state = RUN_NONE;
	s->shared->pid = 0;
	run_ended(s, e, NULL, &state);
}

void exits_decide(struct shim *s)
{
	struct exit_info e = {
		.run = s->shared ? s->shared->run : s->journal.now.run,
		.count = 1,
		.boot_end = now_boot(),
		.real_end = now_real(),
	};

	if (!s->shared) { /* cannot be: the keeper makes it before the first launch */
		journal_warn(&s->journal, "no shared memory: the policy can't be applied");
		shim_event(s, LIFE_ON_EXIT_DOWN);
		return;
	}
	if (e.run && e.run == s->journal.now.last.run && s->journal.now.state != LIFE_LAUNCHED) {
		/* stopped while it waited between two runs: there is no other exit to tell of */
		shim_event(s, s->shared->policy.down || s->journal.now.stopping
				      ? LIFE_ON_EXIT_DOWN
				      : LIFE_ON_EXIT_FRESH);
		return;
	}
	if (e.run == s->journal.now.last.run) /* it did not get as far as to count */
		e.run = ++s->shared->run;
	e.boot_start = s->shared->boot_started;
	status_into(s, &e);
	start_failure_into(s, &e);
	if (s->init_end.boot_usec)
		e.boot_end = s->init_end.boot_usec;
	oom_into(s, &e);
	end_by_policy(s, &e);
}

/* A launch that fails: the first one is the user's to know, a later one counts as a failed run. The
 * first after a `start` is both. */
void exits_launch_failed(struct shim *s)
{
	const struct launch_result *r = &s->launched;
	struct exit_info e = {
		.run = s->journal.now.run,
		.count = 1,
		.code = r->outcome == LAUNCH_BAD_CONFIG ? 64 : 125,
		.flags = EXIT_START_FAILED,
		.errnum = -r->err,
		.boot_end = now_boot(),
		.real_end = now_real(),
	};

	journal_append(&s->journal, RECORD_LAUNCH_FAILED, 0, e.run, r, sizeof(*r));
	log_error("launch: %s: %s", r->step, r->text);
	if (!s->journal.now.up_once || !s->shared)
		clients_broadcast(s, CLIENT_FAILED, r, sizeof(*r));
	if (s->journal.now.run == 0 || !s->shared) {
		s->first_failed = true;
		s->first_failure = e;
		shim_event(s, LIFE_ON_EXIT_DOWN);
		return;
	}
	e.run = s->shared->run = s->journal.now.run + 1;
	end_by_policy(s, &e);
}
