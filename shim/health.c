#include "shim/health.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/log.h"
#include "ipc/fds.h"
#include "monitor/probe.h"
#include "shim/shim.h"

#define AGAIN_USEC (5 * USEC_PER_MSEC)

bool health_awake(const struct shim *s)
{
	const struct health_state *st = s->health.state;

	return st && s->phase == PHASE_RUNNING && s->shared && st->run == s->shared->run &&
	       !s->journal.now.restarting && s->journal.now.unhealthy.run != st->run;
}

void health_text(struct health_state *st, char *to, size_t size, const char *text)
{
	if (strncmp(to, text, size) == 0)
		return;
	__atomic_store_n(&st->changing, st->changing | 1, __ATOMIC_SEQ_CST);
	snprintf(to, size, "%s", text);
	__atomic_store_n(&st->changing, st->changing + 1, __ATOMIC_SEQ_CST);
}

void health_halt(struct shim *s)
{
	loop_timer_cancel(&s->health.watchdog);
	loop_timer_cancel(&s->health.start);
	probes_halt(s);
}

/* Readiness ------------------------------------------------------------------------------------ */

/* Something must be fulfilled before a run counts as ready. */
static bool is_gated(const struct shim *s)
{
	const struct health_conf *conf = s->health.conf;

	if (s->settings.flags & SETTINGS_NOTIFY)
		return true;
	for (uint32_t i = 0; conf && i < conf->count; i++)
		if (conf->probes[i].kind == PROBE_STARTUP ||
			conf->probes[i].kind == PROBE_READINESS)
			return true;
	return false;
}

static void tell_ready(struct shim *s)
{
	uint32_t run = s->shared->run;

	if (s->shared->state != RUN_UP && s->shared->state != RUN_STARTING && shim_has_init(s))
		return;
	if (s->journal.now.ready_run != run)
		journal_append(&s->journal, RECORD_READY, 0, run, NULL, 0);
	if (shim_has_init(s))
		link_init_send(s, INIT_READY, 0, NULL, 0);
	loop_timer_cancel(&s->health.start);
	shim_announce_ready(s);
}

void health_review(struct shim *s)
{
	const struct health_conf *conf = s->health.conf;
	struct health_state *st = s->health.state;
	uint32_t was = st->ready;

	st->verdict = conf ? probe_verdict(conf, st) : HEALTH_NONE;
	overload_health(s, st->verdict == HEALTH_UNHEALTHY);
	st->ready = (st->said_ready || !(s->settings.flags & SETTINGS_NOTIFY)) &&
		    (!conf || probe_ready(conf, st));
	if (st->ready && is_gated(s) && (!was || s->journal.now.ready_run != st->run))
		tell_ready(s);
}

/* Watchdog and start --------------------------------------------------------------------------- */

void health_missed(struct shim *s, const char *why)
{
	overload_watchdog(s);
	health_end_run(s, (struct rec_health){.source = HEALTH_BY_WATCHDOG, .signo = SIGABRT}, why);
}

static void set_until(struct loop_timer *t, uint64_t when)
{
	uint64_t now = now_mono();

	loop_timer_set(t, when > now ? when - now : 0);
}

static bool is_watched(const struct shim *s)
{
	return health_awake(s) && s->health.state->watchdog_usec && s->health.state->heard;
}

void health_watch(struct shim *s)
{
	const struct health_state *st = s->health.state;

	if (is_watched(s))
		set_until(&s->health.watchdog, st->heard + st->watchdog_usec);
	else
		loop_timer_cancel(&s->health.watchdog);
}

/* What it has said counts, though nobody has read it yet: a shim that has just come to life finds
 * the words that its predecessor did not live to hear. */
static bool has_unheard(struct shim *s)
{
	if (s->sync_tag || s->notify.tag)
		return true;
	notify_catch_up(s);
	return s->notify.tag != 0;
}

static void on_watchdog(struct loop_timer *t)
{
	struct shim *s = t->ctx;
	struct health_state *st = s->health.state;
	char text[HEALTH_TEXT];

	if (!is_watched(s))
		return;
	if (has_unheard(s)) {
		loop_timer_set(t, AGAIN_USEC);
		return;
	}
	if (!is_watched(s))
		return;
	if (s->journal.now.paused)
		st->heard = now_mono();
	if (now_mono() < st->heard + st->watchdog_usec) {
		health_watch(s);
		return;
	}
	snprintf(text, sizeof(text), "no WATCHDOG=1 for %llu ms (WATCHDOG_USEC=%llu)",
		(unsigned long long)((now_mono() - st->heard) / USEC_PER_MSEC),
		(unsigned long long)st->watchdog_usec);
	health_missed(s, text);
}

static bool is_starting(const struct shim *s)
{
	return health_awake(s) && s->health.state->start_until && !s->health.state->ready;
}

static void on_start_timer(struct loop_timer *t)
{
	struct shim *s = t->ctx;

	if (!is_starting(s))
		return;
	if (has_unheard(s) || s->journal.now.paused) {
		loop_timer_set(t, s->journal.now.paused ? USEC_PER_SEC : AGAIN_USEC);
		return;
	}
	if (!is_starting(s))
		return;
	if (now_mono() < s->health.state->start_until) {
		set_until(t, s->health.state->start_until);
		return;
	}
	health_end_run(s, (struct rec_health){.source = HEALTH_BY_START},
		"not ready within --start-timeout");
}

/* A run -----------------------------------------------------------------------------------------*/

/* When its exec had succeeded, on the clock that deadlines are on. */
static uint64_t began_at(const struct shim *s)
{
	uint64_t ago = now_boot() - s->shared->boot_started;

	return s->shared->boot_started && ago < now_mono() ? now_mono() - ago : now_mono();
}

void health_reset(struct shim *s)
{
	const struct health_conf *conf = s->health.conf;
	struct health_state *st = s->health.state;

	st->run = s->shared->run;
	st->said = SAID_NOTHING;
	st->said_ready = st->ready = 0;
	st->started = began_at(s);
	st->pid_told = 0;
	st->errnum = 0;
	st->exit_status = 0;
	health_text(st, st->status, sizeof(st->status), "");
	st->watchdog_usec = conf ? conf->watchdog_usec : 0;
	st->heard = s->settings.flags & SETTINGS_NOTIFY ? 0 : st->started;
	st->start_until = conf && conf->start_usec ? st->started + conf->start_usec : 0;
	for (uint32_t i = 0; conf && i < conf->count; i++)
		probe_reset(&conf->probes[i], &st->probes[i], st->started);
	st->verdict = conf ? probe_verdict(conf, st) : HEALTH_NONE;
}

void health_began(struct shim *s)
{
	struct health_state *st = s->health.state;

	if (!st || !s->shared)
		return;
	if (st->run != s->shared->run)
		health_reset(s);
	if (s->journal.now.unhealthy.run == st->run) {
		health_pass_on(s);
		return;
	}
	if (!health_awake(s))
		return;
	health_watch(s);
	if (is_starting(s))
		set_until(&s->health.start, st->start_until);
	probes_go(s);
	st->ready = 0; /* a predecessor may have died over telling */
	health_review(s);
}

void health_ended(struct shim *s)
{
	if (!s->health.state)
		return;
	health_halt(s);
	overload_health(s, false);
	s->health.tag = 0;
	loop_timer_cancel(&s->health.answer);
}

void health_stopping(struct shim *s)
{
	if (s->health.state)
		health_halt(s);
}

void health_paused(struct shim *s)
{
	if (s->health.state)
		s->health.state->paused_at = now_mono();
}

void health_resumed(struct shim *s)
{
	struct health_state *st = s->health.state;
	uint64_t now = now_mono();

	if (!st || !st->paused_at)
		return;
	if (st->heard)
		st->heard = now;
	if (st->start_until)
		st->start_until +=
			now - (st->paused_at > st->started ? st->paused_at : st->started);
	st->paused_at = 0;
	probes_drop(s);
	health_watch(s);
}

/* Boot ----------------------------------------------------------------------------------------- */

static void load(struct shim *s)
{
	struct health *h = &s->health;

	if (health_state_map(SHIM_FD_STATE, &h->state) < 0) {
		log_warn("%s: health does not survive this supervisor", fault_text());
		h->state = calloc(1, sizeof(*h->state));
	}
	if (!h->state || !(s->settings.flags & SETTINGS_HEALTH))
		return;
	h->conf = calloc(1, sizeof(*h->conf));
	if (h->conf && health_read(SHIM_FD_STATE, h->conf) == 0)
		return;
	log_warn("health: %s: nothing is probed", h->conf ? fault_text() : "no memory");
	free(h->conf);
	h->conf = NULL;
}

void health_setup(struct shim *s)
{
	const uint32_t flags = SETTINGS_NOTIFY | SETTINGS_NOTIFY_SOCKET | SETTINGS_HEALTH;

	s->health.root = -1;
	loop_timer_init(&s->health.watchdog, &s->loop, on_watchdog, s);
	loop_timer_init(&s->health.start, &s->loop, on_start_timer, s);
	unhealthy_setup(s);
	if (!(s->settings.flags & flags))
		return;
	load(s);
	probes_setup(s);
}
