/* When probes are asked, and what follows from their answers. */
#include "shim/probes.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/fd.h"
#include "monitor/probe.h"
#include "shim/shim.h"

static unsigned count(const struct shim *s)
{
	return s->health.probes ? s->health.conf->count : 0;
}

static bool is_net(const struct probe_run *p)
{
	return p->conf->how != PROBE_EXEC;
}

static void set_until(struct probe_run *p, uint64_t when)
{
	uint64_t now = now_mono();

	loop_timer_set(&p->timer, when > now ? when - now : 0);
}

/* Nothing wakes up for a probe that waits for others. */
static void go(struct probe_run *p)
{
	const struct health *h = &p->shim->health;

	if (probe_done(p->conf, p->state) || probe_held_back(h->conf, h->state, p->index))
		loop_timer_cancel(&p->timer);
	else
		set_until(p, p->state->next);
}

/* Giving up what is under way, without a verdict. */
static void give_up(struct probe_run *p)
{
	if (is_net(p))
		probe_net_end(p);
	else
		probe_exec_end(p);
	p->state->began = 0;
	p->mine = false;
}

void probe_drop(struct probe_run *p)
{
	give_up(p);
	if (health_awake(p->shim))
		go(p);
}

static int ask(struct probe_run *p)
{
	p->mine = true;
	return is_net(p) ? probe_net_begin(p) : probe_exec_begin(p);
}

static void begin(struct probe_run *p)
{
	struct shim *s = p->shim;
	uint64_t now = now_mono();
	int r;

	if (!health_awake(s))
		return;
	p->state->next = now + p->conf->period_usec;
	if (s->journal.now.paused) {
		go(p);
		return;
	}
	if (p->state->exec) { /* the last one is not known to have ended */
		if (!p->mine)
			ask(p);
		go(p);
		return;
	}
	p->state->began = now;
	loop_timer_set(&p->timer, p->conf->timeout_usec);
	r = ask(p);
	if (r == -EAGAIN)
		probe_drop(p);
	else if (r < 0)
		probe_finish(p, false, "%s", strerror(-r));
}

/* What stood still could not answer. */
static void late(struct probe_run *p)
{
	char limit[32];

	if (p->shim->journal.now.paused) {
		probe_drop(p);
		return;
	}
	snprintf(limit, sizeof(limit), "%llu ms",
		(unsigned long long)(p->conf->timeout_usec / USEC_PER_MSEC));
	probe_finish(
		p, false, is_net(p) ? "no answer within %s" : "no end within %s, killed", limit);
}

static void on_timer(struct loop_timer *t)
{
	struct probe_run *p = t->ctx;

	if (p->state->began)
		late(p);
	else
		begin(p);
}

/* The startup probe has passed: the others' time begins. */
static void release_others(struct shim *s)
{
	uint64_t now = now_mono();

	for (unsigned i = 0; i < count(s); i++) {
		struct probe_run *p = &s->health.probes[i];

		if (p->conf->kind == PROBE_STARTUP || p->state->began)
			continue;
		if (p->state->next < now)
			p->state->next = now;
		go(p);
	}
}

static void changed(struct probe_run *p, const char *what)
{
	const struct rec_health rec = {
		.source = HEALTH_BY_PROBE,
		.kind = p->conf->kind,
		.standing = p->state->standing,
		.count = p->state->standing == PROBE_FAILING ? p->state->bad : p->state->good,
	};

	health_note(p->shim, rec, what);
	if (p->state->standing == PROBE_FAILING && probe_restarts(p->conf))
		health_end_run(p->shim, rec, what);
	else if (p->conf->kind == PROBE_STARTUP)
		release_others(p->shim);
}

void probe_finish(struct probe_run *p, bool good, const char *why, ...)
{
	struct health_state *st = p->shim->health.state;
	char target[96], reason[PROBE_WHY], what[HEALTH_TEXT];
	uint64_t now = now_mono();
	va_list ap;

	va_start(ap, why);
	vsnprintf(reason, sizeof(reason), why, ap);
	va_end(ap);
	p->state->took_usec = now - p->state->began;
	give_up(p);
	if (!good)
		health_text(st, p->state->why, sizeof(p->state->why), reason);
	probe_target(p->conf, target, sizeof(target));
	snprintf(what, sizeof(what), good ? "%.95s" : "%.95s: %.100s", target, reason);
	if (probe_result(p->conf, p->state, good, now - st->started) != PROBE_SAME)
		changed(p, what);
	health_review(p->shim);
	if (health_awake(p->shim))
		go(p);
}

/* ---------------------------------------------------------------------------------------------- */

/* A predecessor's connection died with it; its command lives on, and is asked for again. */
static void resume(struct probe_run *p)
{
	if (p->mine)
		return;
	if (is_net(p) || !p->state->exec)
		p->state->began = 0;
	if (p->state->began)
		set_until(p, p->state->began + p->conf->timeout_usec);
	else
		go(p);
	if (p->state->exec)
		ask(p);
}

void probes_go(struct shim *s)
{
	for (unsigned i = 0; i < count(s); i++)
		resume(&s->health.probes[i]);
}

void probes_halt(struct shim *s)
{
	for (unsigned i = 0; i < count(s); i++) {
		loop_timer_cancel(&s->health.probes[i].timer);
		give_up(&s->health.probes[i]);
	}
}

void probes_drop(struct shim *s)
{
	for (unsigned i = 0; i < count(s); i++)
		if (s->health.probes[i].state->began)
			probe_drop(&s->health.probes[i]);
}

void probes_setup(struct shim *s)
{
	struct health *h = &s->health;

	h->probes = h->conf && h->state ? calloc(h->conf->count, sizeof(*h->probes)) : NULL;
	for (unsigned i = 0; i < count(s); i++) {
		struct probe_run *p = &h->probes[i];

		*p = (struct probe_run){
			.shim = s,
			.index = i,
			.conf = &h->conf->probes[i],
			.state = &h->state->probes[i],
			.io.fd = -1,
			.pidfd = -1,
			.plan = -1,
		};
		loop_timer_init(&p->timer, &s->loop, on_timer, p);
	}
}

void probes_root_held(struct shim *s, uint64_t key, int fd)
{
	fd_close(&s->health.root);
	s->health.root = fd;
}

int probes_socket(const struct shim *s, unsigned i)
{
	return i < count(s) && s->health.probes[i].held ? s->health.probes[i].io.fd : -1;
}

void probes_forget(struct shim *s)
{
	for (unsigned i = 0; i < count(s); i++) {
		if (!s->health.probes[i].held)
			continue;
		loop_io_finish(&s->health.probes[i].io);
		s->health.probes[i].held = false;
		link_keeper_drop(s, HELD_PROBE, i);
	}
	if (s->health.root >= 0)
		link_keeper_drop(s, HELD_ROOT, 0);
	fd_close(&s->health.root);
}
