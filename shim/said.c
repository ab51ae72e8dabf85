/* What a run says of itself, in notifications: state that is shown, events, its watchdog's life. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "ipc/base/clock.h"
#include "shim/shim.h"

#define NOTES_MAX    10u /* events in a row about what a service says; then one a second */
#define EXTEND_MAX   (24 * 3600 * USEC_PER_SEC)
#define WATCHDOG_MAX (366 * 24 * 3600 * USEC_PER_SEC)

/* A service can say something a thousand times a second; the journal is not for that. */
static bool may_note(struct health_state *st)
{
	uint64_t now = now_mono(), back = now - st->notes_at;

	if (now < st->notes_at || back / USEC_PER_SEC >= NOTES_MAX)
		st->notes_left = NOTES_MAX;
	else
		st->notes_left += (uint32_t)(back / USEC_PER_SEC);
	if (st->notes_left > NOTES_MAX)
		st->notes_left = NOTES_MAX;
	if (now < st->notes_at || back >= USEC_PER_SEC)
		st->notes_at = now;
	if (st->notes_left == 0)
		return false;
	st->notes_left--;
	return true;
}

void health_note(struct shim *s, struct rec_health rec, const char *text)
{
	struct health_state *st = s->health.state;

	if (rec.source == HEALTH_BY_SERVICE && !may_note(st))
		return;
	snprintf(rec.text, sizeof(rec.text), "%s", text);
	journal_append(&s->journal, RECORD_HEALTH, 0, st->run, &rec, sizeof(rec));
}

/* A long stop that the service asks for: init holds the grace, or the shim where there is none. */
static void extend_stop(struct shim *s, uint64_t usec)
{
	const struct stop_req req = {.has_grace = STOP_EXTEND, .grace_usec = usec};
	uint64_t until = now_mono() + usec;

	if (shim_has_init(s))
		link_init_send(s, INIT_STOP, 0, &req, sizeof(req));
	else if (s->phase == PHASE_STOPPING && s->stop.signo != SIGKILL &&
		 s->stop.grace_usec < EXTEND_MAX && until > s->phase_since + s->stop.grace_usec)
		loop_timer_set(&s->stop_timer, usec);
}

static void extend(struct shim *s, uint64_t usec)
{
	struct health_state *st = s->health.state;
	uint64_t until = now_mono() + usec;

	if (s->phase == PHASE_STOPPING || s->journal.now.unhealthy.run == st->run)
		extend_stop(s, usec);
	else if (st->start_until && until > st->start_until)
		st->start_until = until;
}

static void say(struct shim *s, enum service_said said, const char *text)
{
	const struct rec_health rec = {.source = HEALTH_BY_SERVICE, .standing = said};
	struct health_state *st = s->health.state;

	if (st->said == (uint32_t)said && !text)
		return;
	if (text || said != SAID_READY || st->said != SAID_NOTHING) /* that is an event already */
		health_note(s, rec, text ? text : "");
	st->said = said;
}

static void take_status(struct shim *s, const struct notify_msg *m)
{
	struct health_state *st = s->health.state;

	if (!m->told || strcmp(st->status, m->status) == 0)
		return;
	health_text(st, st->status, sizeof(st->status), m->status);
	say(s, st->said, m->status);
}

static void take_state(struct shim *s, const struct notify_msg *m)
{
	if (m->ready)
		say(s, SAID_READY, NULL);
	if (m->reloading)
		say(s, SAID_RELOADING, NULL);
	if (m->stopping)
		say(s, SAID_STOPPING, NULL);
}

/* The service is whom we have started; no word of anybody makes it another process. */
static void refuse_pid(struct shim *s)
{
	if (!s->health.state->pid_told)
		journal_warn(&s->journal,
			"MAINPID=: refused (the service is the process that was started)");
	s->health.state->pid_told = 1;
}

static void take_numbers(struct shim *s, const struct notify_msg *m)
{
	struct health_state *st = s->health.state;

	if (m->errnum.given && m->errnum.value < 4096)
		st->errnum = (int32_t)m->errnum.value;
	if (m->exit_status.given && m->exit_status.value < 256)
		st->exit_status = (uint32_t)m->exit_status.value;
	if (m->watchdog_usec.given && m->watchdog_usec.value <= WATCHDOG_MAX)
		st->watchdog_usec = m->watchdog_usec.value;
	if (m->extend_usec.given && m->extend_usec.value <= EXTEND_MAX)
		extend(s, m->extend_usec.value);
}

/* A word that waited while no shim lived was said when it was sent, as far as clocks agree. */
static void take_life(struct shim *s, const struct notify_msg *m, uint64_t sent)
{
	struct health_state *st = s->health.state;
	uint64_t now = now_mono(), real = now_real();
	uint64_t ago = real > sent ? real - sent : 0;

	if (!m->alive && !m->ready && !m->watchdog_usec.given)
		return;
	if (ago > now - st->started)
		ago = 0;
	if (now - ago > st->heard)
		st->heard = now - ago;
	health_watch(s);
}

void health_heard(struct shim *s, const struct notify_msg *m, uint64_t sent)
{
	struct health_state *st = s->health.state;

	if (!st)
		return;
	if (st->run != s->shared->run)
		health_reset(s);
	if (m->main_pid)
		refuse_pid(s);
	take_state(s, m);
	take_status(s, m);
	take_numbers(s, m);
	take_life(s, m, sent);
	if (m->ready) {
		st->said_ready = 1;
		st->ready = 0; /* told again: who waits may have come meanwhile */
		health_review(s);
	}
	if (m->trigger)
		health_missed(s, "the service has said WATCHDOG=trigger");
}
