#include "init/run.h"

#include <string.h>
#include <sys/wait.h>

#include "init/counter.h"
#include "init/exec.h"
#include "init/pid1.h"
#include "init/relay.h"
#include "init/report.h"
#include "init/ring.h"
#include "init/sys.h"
#include "ipc/base/clock.h"

#define RECORD_DEADLINE USEC_PER_SEC
#define STUCK_AFTER	(30 * USEC_PER_SEC)
#define FULL_DELAY	USEC_PER_SEC
#define CALM_AFTER	(300 * USEC_PER_MSEC)
#define ASIDE		USEC_PER_MSEC

void run_init(struct run *r)
{
	memset(r, 0, sizeof(*r));
	r->child.pidfd = r->child.result = -1;
}

static void close_old(struct pid1 *p)
{
	if (p->old_pidfd >= 0)
		close(p->old_pidfd);
	p->old_pidfd = -1;
}

/* ---- start ---- */

static uint32_t tty_stdio(int stdio[3], const struct output_pair **pair)
{
	stdio[0] = stdio[1] = stdio[2] = PLAN_FD_TTY_PEER;
	*pair = NULL;
	return 0;
}

static uint32_t piped_stdio(struct pid1 *p, int stdio[3], const struct output_pair **ret)
{
	const struct output_pair *pair = output_next(&p->output, p->shared->run, p->plan.pipe_size);

	*ret = pair;
	if (!pair)
		return SPAWN_PIPES;
	p->shared->shares_from = pair->first < pair->last ? pair->first : 0;
	stdio[0] = p->plan.flags & PLAN_STDIN ? PLAN_FD_STDIN : PLAN_FD_NULL;
	stdio[1] = p->output.write[STREAM_OUT];
	stdio[2] = p->output.write[p->plan.flags & PLAN_MERGE ? STREAM_OUT : STREAM_ERR];
	return 0;
}

/* A run whose process never came to be ends like one that was reaped, only without a status.
 * Nothing will raise SIGCHLD for it; by way of the loop, so that failing for ever does not starve
 * requests. */
static void start_failed(struct pid1 *p, uint32_t step, int err)
{
	const siginfo_t none = {.si_code = CLD_EXITED};
	const struct rusage unused = {0};

	p->run.failure = (struct spawn_failure){step, err};
	p->run.child.pid = 0;
	run_ended(p, &none, &unused);
	p->due[DUE_REAP] = p->run.mono_end;
}

/* A service that comes back has the CPU to itself for this long: what we would do meanwhile, and
 * have the supervisor do, costs it more than half of the time that its exec takes, and it is the
 * one whom somebody waits for. Its pipes are told, but the bell is not rung. A first run is waited
 * for by whoever had it made. */
static void stand_aside(struct pid1 *p)
{
	uint64_t until = p->run.mono_start + ASIDE;

	if (p->ran)
		p->due[DUE_RESULT] = until;
	if (p->due[DUE_TELL])
		p->due[DUE_TELL] = until;
}

void run_start(struct pid1 *p)
{
	struct run *r = &p->run;
	const struct output_pair *pair;
	int stdio[3], err;
	uint32_t step;

	run_init(r);
	oom_begin(p);
	r->mono_start = now_mono();
	p->shared->run++;
	p->shared->mono_next = 0;
	p->due[DUE_START] = 0;
	pid1_set_state(p, RUN_STARTING);

	step = p->plan.flags & PLAN_TTY ? tty_stdio(stdio, &pair) : piped_stdio(p, stdio, &pair);
	if (step) {
		start_failed(p, step, errno);
		return;
	}
	err = spawn_service(&p->nest, &p->plan, &p->kept, stdio, &r->child);
	p->shared->pid = err < 0 ? 0 : r->child.pid;
	/* Before the command: should its death and ours come at once, the supervisor still finds
	 * the pipes in its queue. */
	if (pair)
		report_pipes(p, pair, !p->ran);
	if (p->plan.flags & PLAN_MERGE)
		output_unused(&p->output, STREAM_ERR);
	if (err < 0) {
		start_failed(p, SPAWN_FORK, -err);
		return;
	}
	spawn_go(&p->nest);
	p->shared->boot_started = r->record.boot_start = now_boot();
	stand_aside(p);
	p->ran = true;
}

/* False: it is still on its way to exec. */
static bool result_known(struct pid1 *p)
{
	struct run *r = &p->run;
	ssize_t n = -1;

	if (r->child.result >= 0)
		n = read(r->child.result, &r->failure, sizeof(r->failure));
	if (n < 0)
		return false;
	close(r->child.result);
	r->child.result = -1;
	if (n > 0)
		return true; /* it is about to exit; the record will say why */
	p->shared->boot_started = r->record.boot_start = now_boot();
	pid1_set_state(p, RUN_UP);
	report_started(p);
	return true;
}

void run_result(struct pid1 *p)
{
	if (result_known(p) && p->state == RUN_UP)
		p->due[DUE_NEST] = now_mono() + CALM_AFTER;
}

void run_calm(struct pid1 *p)
{
	spawn_left(&p->nest);
}

void run_settled(struct pid1 *p)
{
	output_rest(&p->output);
	close_old(p);
	run_result(p);
	report_ring(p);
}

/* ---- end ---- */

static uint64_t timeval_usec(struct timeval t)
{
	return (uint64_t)t.tv_sec * USEC_PER_SEC + (uint64_t)t.tv_usec;
}

void run_note_status(struct exit_record *rec, const siginfo_t *info, const struct rusage *ru)
{
	if (info->si_code == CLD_EXITED)
		rec->code = (uint32_t)info->si_status & 0xff;
	else
		rec->signal = (uint32_t)info->si_status;
	if (info->si_code == CLD_DUMPED)
		rec->flags |= EXIT_CORE;
	rec->utime_usec = timeval_usec(ru->ru_utime);
	rec->stime_usec = timeval_usec(ru->ru_stime);
	rec->maxrss_kib = (uint64_t)ru->ru_maxrss;
	rec->minflt = (uint64_t)ru->ru_minflt;
	rec->majflt = (uint64_t)ru->ru_majflt;
}

void run_note_failure(struct exit_record *rec, const struct spawn_failure *f)
{
	rec->flags |= EXIT_START_FAILED;
	rec->errnum = f->errnum;
	rec->step = f->step;
	rec->signal = 0;
	rec->code = f->step == SPAWN_EXEC ? (uint32_t)exec_failure_code(-f->errnum) : 126;
}

static bool healthy(const struct pid1 *p)
{
	const struct run *r = &p->run;

	return !r->failure.step &&
	       (r->ready || r->mono_end - r->mono_start >= p->plan.policy.healthy_usec);
}

static void note_circumstances(struct pid1 *p, struct exit_record *rec)
{
	rec->flags |= oom_ended(p, rec->raw[RAW_MEM], rec->raw_len[RAW_MEM]);
	rec->oom_kills = p->run.oom.kills;
	if (healthy(p))
		rec->flags |= EXIT_HEALTHY;
	if (p->shared->policy.down)
		rec->flags |= EXIT_STOPPED;
	if (p->run.group_killed)
		rec->flags |= EXIT_GROUP_KILLED;
}

void run_ended(struct pid1 *p, const siginfo_t *info, const struct rusage *ru)
{
	struct run *r = &p->run;
	struct exit_record *rec = &r->record;

	result_known(p);
	r->mono_end = now_mono();
	rec->kind = EXIT_SERVICE;
	rec->run = p->shared->run;
	rec->pid = r->child.pid;
	rec->boot_end = now_boot();
	run_note_status(rec, info, ru);
	if (r->failure.step)
		run_note_failure(rec, &r->failure);
	counters_read(p, rec); /* right after the reap, before the kill makes them move */
	note_circumstances(p, rec);

	pid1_set_state(p, RUN_CLEANUP);
	p->clean.tried = false;
	p->due[DUE_KILL] = p->due[DUE_OOM] = p->due[DUE_RESULT] = p->due[DUE_NEST] = 0;
	p->due[DUE_RECORD] = r->mono_end + RECORD_DEADLINE;
	relay_everybody(p, SIGKILL);
	close_old(p);
	p->old_pidfd = r->child.pidfd;
	if (r->child.result >= 0)
		close(r->child.result);
	r->child = (struct spawned){.pidfd = -1, .result = -1};
	p->shared->pid = 0;
}

/* The restart verb is the operator's word: neither policy nor budget have a say or count it. */
static struct policy_verdict verdict_again(struct pid1 *p)
{
	struct policy_verdict v = {.action = POLICY_IN_PLACE, .reason = POLICY_WHY_RESTART};

	p->shared->policy.restarts++;
	if (p->plan.policy.mode == RESTART_FRESH)
		v.action = POLICY_START_FRESH;
	return v;
}

/* A fresh start takes a supervisor. While there is none, mode auto goes on in place as well as it
 * can; who wants nothing but fresh starts waits for the next one. */
static bool must_stay(const struct pid1 *p)
{
	return !p->connected && p->plan.policy.mode == RESTART_AUTO;
}

static void decide(struct pid1 *p)
{
	struct run *r = &p->run;
	struct policy_exit e = {
		.code = r->record.code,
		.signal = r->record.signal,
		.oom = r->record.flags & EXIT_OOM_SEEN,
		.healthy = r->record.flags & EXIT_HEALTHY,
		.now_usec = now_mono(),
	};

	if (r->decided)
		return;
	r->decided = true;
	if (r->failed) { /* whatever its status: that is no success */
		e.signal = 0;
		e.code = POLICY_FAILED;
	}
	if (r->again && !p->shared->policy.down)
		r->verdict = verdict_again(p);
	else
		r->verdict = policy_decide(&p->plan.policy, &p->shared->policy, &e);
	if (r->verdict.action == POLICY_START_FRESH && must_stay(p))
		r->verdict.action = POLICY_IN_PLACE;
}

/* A stop that came after the decision wins over it. */
static void yield_to_stop(struct pid1 *p)
{
	if (!p->shared->policy.down || p->run.verdict.action == POLICY_STAY_DOWN)
		return;
	p->run.verdict =
		(struct policy_verdict){.action = POLICY_STAY_DOWN, .reason = POLICY_WHY_STOPPED};
}

static void record(struct pid1 *p)
{
	struct run *r = &p->run;
	struct exit_record *rec = &r->record;

	yield_to_stop(p);
	if (ring_fills(p->shared) && !r->again && r->verdict.delay_usec < FULL_DELAY)
		r->verdict.delay_usec = FULL_DELAY;
	rec->verdict = r->verdict.action;
	rec->reason = r->verdict.reason;
	rec->delay_usec = r->verdict.delay_usec;
	ring_write(p->shared, PLAN_FD_SHARED, rec);
	r->recorded = true;
	p->due[DUE_RECORD] = 0;
	p->due[DUE_TELL] = now_mono();
}

static void go_down(struct pid1 *p)
{
	bool untold = p->due[DUE_TELL];

	for (int i = 0; i < DUES; i++)
		p->due[i] = 0;
	p->shared->mono_next = 0;
	pid1_set_state(p, RUN_DOWN);
	if (untold)
		report_record(p);
}

/* What a start at once leaves for later. */
static void tidy_up(struct pid1 *p)
{
	spawn_left(&p->nest);
	output_ended(&p->output);
	close_old(p);
}

/* Recorded and empty: what the verdict says. True if a child was made. */
static bool next(struct pid1 *p)
{
	struct run *r = &p->run;

	yield_to_stop(p);
	p->due[DUE_STUCK] = 0;
	if (r->verdict.action != POLICY_IN_PLACE) {
		tidy_up(p);
		go_down(p);
		run_orphaned(p); /* they may have left before it was down */
		return p->state == RUN_STARTING;
	}
	if (!p->shared->hold && r->verdict.delay_usec == 0) {
		run_start(p);
		return p->state == RUN_STARTING;
	}
	tidy_up(p);
	p->shared->mono_next = r->mono_end + r->verdict.delay_usec;
	pid1_set_state(p, RUN_DELAY);
	p->due[DUE_START] = p->shared->hold ? 0 : p->shared->mono_next;
	return false;
}

void run_orphaned(struct pid1 *p)
{
	struct run *r = &p->run;

	if (p->state != RUN_DOWN || p->shared->policy.down ||
		r->verdict.action != POLICY_START_FRESH || !must_stay(p))
		return;
	r->record.verdict = POLICY_IN_PLACE;
	if (!ring_amend(p->shared, PLAN_FD_SHARED, &r->record))
		return;
	r->verdict.action = POLICY_IN_PLACE;
	next(p);
}

static void turn_fresh(struct pid1 *p)
{
	if (must_stay(p))
		return;
	p->run.verdict.action = POLICY_START_FRESH;
	p->run.record.flags |= EXIT_DIRTY;
	policy_went_fresh(&p->shared->policy);
}

static bool minds_leftovers(const struct pid1 *p)
{
	return p->plan.policy.mode == RESTART_AUTO && p->run.verdict.action == POLICY_IN_PLACE;
}

bool run_emptied(struct pid1 *p)
{
	decide(p);
	if (!p->run.recorded && minds_leftovers(p) && !p->shared->policy.down) {
		switch (clean_check(p)) {
		case CLEAN_YES:
			break;
		case CLEAN_SCRUBBED:
			p->run.record.flags |= EXIT_SCRUBBED;
			break;
		case CLEAN_SCRUBBING: /* a second of its own: the run itself ended in time */
			p->due[DUE_RECORD] = now_mono() + RECORD_DEADLINE;
			return true;
		case CLEAN_NO:
			turn_fresh(p);
			break;
		}
	}
	if (!p->run.recorded)
		record(p);
	return next(p);
}

/* Whoever waits for the status gets it now. In mode auto a container that cannot be emptied in a
 * second is not clean, by definition; in mode in-place the next run waits for the old one. */
void run_overdue(struct pid1 *p)
{
	if (p->state != RUN_CLEANUP || p->run.recorded)
		return;
	decide(p);
	if (minds_leftovers(p))
		turn_fresh(p);
	record(p);
	p->due[DUE_TELL] = 0;
	report_record(p);
	output_rest(&p->output);
	relay_everybody(p, SIGKILL); /* a scrubber that hangs, too */
	report_waiting(p);
	p->due[DUE_STUCK] = p->run.mono_end + STUCK_AFTER;
}

void run_stuck(struct pid1 *p)
{
	if (p->state == RUN_CLEANUP)
		report_waiting(p);
}

/* ---- the operator ---- */

static bool alive(const struct pid1 *p)
{
	return p->state == RUN_STARTING || p->state == RUN_UP;
}

static void end_run(struct pid1 *p, int signo, uint64_t grace)
{
	uint64_t now = now_mono(), until = grace < UINT64_MAX - now ? now + grace : UINT64_MAX;

	if (grace == 0) {
		p->due[DUE_KILL] = now;
		return;
	}
	relay_service(p, signo ? signo : (int)p->plan.stop_signal);
	if (!p->due[DUE_KILL] || until < p->due[DUE_KILL])
		p->due[DUE_KILL] = until; /* a shorter grace counts, a longer one does not */
}

void run_want_down(struct pid1 *p)
{
	p->shared->policy.down = 1;
	if (p->state == RUN_NONE || p->state == RUN_DELAY)
		go_down(p);
}

void run_stop(struct pid1 *p, int signo, uint64_t grace)
{
	run_want_down(p); /* first: no death from here on is answered with a start */
	if (alive(p))
		end_run(p, signo, grace);
}

void run_extend(struct pid1 *p, uint64_t grace)
{
	uint64_t until = now_mono() + grace;

	if (p->due[DUE_KILL] && until > p->due[DUE_KILL])
		p->due[DUE_KILL] = until;
}

int run_restart(struct pid1 *p, int signo, uint64_t grace, bool by_policy)
{
	if (p->shared->policy.down || p->state == RUN_DOWN)
		return -ECANCELED;
	if (p->run.decided && p->run.verdict.action != POLICY_IN_PLACE)
		return -ECANCELED; /* the run has ended and its record says what comes next */
	if (by_policy && !alive(p))
		return -ECANCELED; /* the run that it was about has ended */
	p->run.again |= !by_policy;
	p->run.failed |= by_policy;
	if (p->state == RUN_DELAY && !p->shared->hold)
		run_start(p);
	else if (alive(p))
		end_run(p, signo, grace);
	return 0;
}

void run_release(struct pid1 *p)
{
	uint64_t now = now_mono();

	if (p->state == RUN_NONE && p->begun)
		run_start(p);
	if (p->state != RUN_DELAY || p->shared->hold)
		return;
	p->due[DUE_START] = p->shared->mono_next > now ? p->shared->mono_next : now;
}
