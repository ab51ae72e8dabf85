/* Ending a run for its health: journalled first, asked of init under a tag that is the run's own,
 * and left to the policy. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "ipc/base/clock.h"
#include "ipc/base/log.h"
#include "ipc/base/proc.h"
#include "shim/shim.h"

#define ANSWER_USEC USEC_PER_SEC

/* The one request of a run that is no client's: init does it once, whoever asks again. */
#define TAG_OF(run) (ONCE_TAG | (uint64_t)INT32_MAX << 32 | (run))

static void end_by_init(struct shim *s, const struct unhealthy *u)
{
	const struct stop_req req = {
		.signo = u->signo,
		.has_grace = STOP_HAS_GRACE | STOP_BY_POLICY | STOP_RUN(u->run),
		.grace_usec = u->grace_usec,
	};

	s->health.tag = TAG_OF(u->run);
	link_init_send(s, INIT_RESTART, s->health.tag, &req, sizeof(req));
	loop_timer_set(&s->health.answer, ANSWER_USEC);
}

static void end_without_init(struct shim *s, const struct unhealthy *u)
{
	int r = s->init_pidfd.fd >= 0 ? pidfd_kill(s->init_pidfd.fd, (int)u->signo) : -ESRCH;

	if (r < 0 && r != -ESRCH)
		log_warn("signal %u: %s", u->signo, strerror(-r));
	loop_timer_set(&s->stop_timer, u->grace_usec);
}

/* Intended and perhaps not delivered: a predecessor may have died over it. */
void health_pass_on(struct shim *s)
{
	health_halt(s);
	overload_undo(s); /* it needs its share to end in time */
	pause_thaw(s);
	if (shim_has_init(s))
		end_by_init(s, &s->journal.now.unhealthy);
	else
		end_without_init(s, &s->journal.now.unhealthy);
}

/* As with a stop: an init that does not answer holds up nothing for ever. */
static void on_answer_timer(struct loop_timer *t)
{
	struct shim *s = t->ctx;

	if (!s->health.tag)
		return;
	s->health.tag = 0;
	journal_warn(&s->journal, "init does not answer: the container is killed");
	clean_kill(s);
}

void health_answered(struct shim *s, uint64_t tag)
{
	if (!s->health.tag || tag != s->health.tag)
		return;
	s->health.tag = 0;
	loop_timer_cancel(&s->health.answer);
}

void health_end_run(struct shim *s, struct rec_health rec, const char *why)
{
	struct health_state *st = s->health.state;

	if (!health_awake(s))
		return;
	rec.standing = PROBE_FAILING;
	rec.grace_usec = s->settings.stop_grace_usec;
	if (!rec.signo)
		rec.signo = s->settings.stop_signal ? s->settings.stop_signal : SIGTERM;
	snprintf(rec.text, sizeof(rec.text), "%s", why);
	if (rec.source == HEALTH_BY_WATCHDOG)
		st->missed++;
	else
		st->unhealthy++;
	journal_append(&s->journal, RECORD_UNHEALTHY, 0, st->run, &rec, sizeof(rec));
	log_warn("run %u is ended: %s", st->run, why);
	health_pass_on(s);
}

void unhealthy_setup(struct shim *s)
{
	loop_timer_init(&s->health.answer, &s->loop, on_answer_timer, s);
}
