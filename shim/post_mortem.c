#include "shim/post_mortem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/log.h"
#include "ipc/base/mem.h"
#include "ipc/fds.h"
#include "monitor/cause.h"
#include "monitor/cgfs.h"
#include "monitor/counters.h"
#include "shim/shim.h"

#define TAIL_USEC  (20 * USEC_PER_MSEC) /* until output is looked for, and looked for again */
#define TAIL_TRIES 100

static void put(struct shim *s, struct post_mortem_full *p)
{
	if (post_mortem_write(s->post_mortems.fd, p) < 0)
		log_warn("%s", fault_text());
}

/* All that the run wrote has left its pipes. */
static bool drained(struct shim *s, const struct exit_info *e)
{
	uint64_t at[LOG_STREAMS];

	pthread_mutex_lock(&s->pump.lock);
	for (int i = 0; i < LOG_STREAMS; i++)
		at[i] = s->pump.streams[i].offset;
	pthread_mutex_unlock(&s->pump.lock);
	return at[LOG_STDOUT] >= e->stdout_end && at[LOG_STDERR] >= e->stderr_end;
}

/* true: there is nothing more to do for this run. */
static bool take_output(struct shim *s, uint32_t run, struct post_mortem_full *p, bool last_time)
{
	if (post_mortem_read(s->post_mortems.fd, run, p) < 0 || p->head.has & POST_MORTEM_TAIL)
		return true;
	if (!last_time && !drained(s, &p->head.exit))
		return false;
	post_mortem_output(p, s->log_dirfd);
	put(s, p);
	return true;
}

static bool settle(struct shim *s, bool last_time)
{
	auto_free struct post_mortem_full *p = malloc(sizeof(*p));
	bool more = false;

	for (unsigned i = 0; p && i < POST_MORTEM_SLOTS; i++) {
		uint32_t *run = &s->post_mortems.pending[i];

		if (*run && take_output(s, *run, p, last_time))
			*run = 0;
		more = more || *run;
	}
	return more;
}

static void on_timer(struct loop_timer *t)
{
	struct shim *s = t->ctx;

	/* what was dropped on a full disk never comes */
	if (settle(s, ++s->post_mortems.tries >= TAIL_TRIES))
		loop_timer_set(t, TAIL_USEC);
}

void post_mortem_setup(struct shim *s)
{
	s->post_mortems.fd = -1;
	loop_timer_init(&s->post_mortems.timer, &s->loop, on_timer, s);
}

void post_mortem_finish(struct shim *s)
{
	loop_timer_cancel(&s->post_mortems.timer);
	if (s->post_mortems.fd >= 0)
		settle(s, true);
	fd_close(&s->post_mortems.fd);
}

static void wait_for_output(struct shim *s, uint32_t run)
{
	s->post_mortems.tries = 0;
	s->post_mortems.pending[run % POST_MORTEM_SLOTS] = run;
	loop_timer_set(&s->post_mortems.timer, TAIL_USEC);
}

/* The kernel counts per sandbox: what the run before in the same one ended with is where this one
 * began. false: that is not known. */
static bool began_with(
	struct shim *s, const struct exit_info *e, struct post_mortem *before, struct counters *ret)
{
	const uint32_t all = POST_MORTEM_EVENTS | POST_MORTEM_OOM_KILL | POST_MORTEM_PRESSURE |
			     POST_MORTEM_THROTTLED;
	bool known = before->exit.run && before->exit.run + 1 == e->run;

	*ret = (struct counters){.has = all};
	if (e->run > 1 && !known)
		return false;
	if (known && before->exit.action == POLICY_IN_PLACE)
		*ret = before->end;
	return true;
}

static void fill(struct shim *s, struct post_mortem_full *p, const struct exit_info *e,
	const struct exit_record *r)
{
	struct ending end = {.e = *e,
		.asked = s->journal.now.asked,
		.rule = s->journal.now.rule_end,
		.unhealthy = s->journal.now.unhealthy};
	struct post_mortem before = p->head;
	struct counters began;
	struct cause cause;

	memset(&p->head, 0, sizeof(p->head));
	p->head.exit = *e;
	p->head.begin[LOG_STDOUT] = before.exit.stdout_end;
	p->head.begin[LOG_STDERR] = before.exit.stderr_end;
	if (r)
		counters_parse(&p->head.end, r);
	if (began_with(s, e, &before, &began))
		p->head.grown = counters_grown(&p->head.end, &began);
	if (cgfs_memory_peak(&s->hier, s->settings.cgroup, &p->head.memory_peak) == 0)
		p->head.has |= POST_MORTEM_PEAK;
	cause_of(&cause, &end);
	memcpy(p->head.cause, cause.text, sizeof(p->head.cause));
	memcpy(p->head.by, cause.by, sizeof(p->head.by));
}

void post_mortem_add(struct shim *s, const struct exit_info *e, const struct exit_record *r)
{
	auto_free struct post_mortem_full *p = NULL;

	if (s->post_mortems.fd < 0)
		s->post_mortems.fd = openat(SHIM_FD_STATE, "postmortem",
			O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	p = s->post_mortems.fd >= 0 ? malloc(sizeof(*p)) : NULL;
	if (!p) {
		log_warn("postmortem of run %u: %s", e->run, strerror(errno));
		return;
	}
	if (post_mortem_read(s->post_mortems.fd, e->run - 1, p) < 0)
		memset(&p->head, 0, sizeof(p->head));
	fill(s, p, e, r);
	put(s, p);
	wait_for_output(s, e->run);
}

/* What init wrote of an exit that the predecessor journalled and did not get to look into. */
static bool ring_has(const struct shim *s, const struct exit_info *e, struct exit_record *ret)
{
	return s->shared && exits_ring_read(s, e->seq, ret) == 0 && ret->run == e->run;
}

void post_mortem_recover(struct shim *s)
{
	const struct exit_info *last = &s->journal.now.last;
	auto_free struct post_mortem_full *p = malloc(sizeof(*p));
	struct exit_record r;

	if (!p || !last->run)
		return;
	s->post_mortems.fd = openat(SHIM_FD_STATE, "postmortem", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	for (uint32_t run = last->run;
		s->post_mortems.fd >= 0 && run > 0 && last->run - run < POST_MORTEM_SLOTS; run--)
		if (post_mortem_read(s->post_mortems.fd, run, p) == 0 &&
			!(p->head.has & POST_MORTEM_TAIL))
			wait_for_output(s, run);
	if (s->post_mortems.fd < 0 || post_mortem_read(s->post_mortems.fd, last->run, p) < 0)
		post_mortem_add(s, last, ring_has(s, last, &r) ? &r : NULL);
}
