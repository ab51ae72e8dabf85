/* Where it comes from: the ring that the shim writes, the journal, and the kernel for what is now.
 * Nobody is asked, so it works whoever is alive. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/pressure.h"
#include "cli/sample.h"
#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/event_msg.h"
#include "ipc/journal_reader.h"

/* Samples -------------------------------------------------------------------------------------- */

static void take_ring(struct pressure_view *v, const struct sample *row)
{
	static struct pressure_past past; /* too large for a stack */
	int r = pressure_log_read(row->dir.dirfd, &past);

	v->source = r == -ENOENT ? SOURCE_NONE : r < 0 ? SOURCE_LOST : SOURCE_RING;
	if (v->source == SOURCE_RING && strcmp(past.boot_id, row->h.boot_id) != 0)
		v->source = SOURCE_LOST;
	if (v->source != SOURCE_RING)
		return;
	memcpy(v->samples, past.samples, past.len * sizeof(past.samples[0]));
	v->len = past.len;
}

static void take_figure(
	struct logged *l, unsigned figure, const struct cgstat *s, enum cgstat_field f)
{
	if (cgstat_has(s, f))
		logged_put(l, figure, s->value[f]);
}

static void take_now(struct pressure_view *v, const struct sample *row, uint64_t now)
{
	static const enum cgstat_resource order[] = {PRESSURE_MEMORY, PRESSURE_CPU, PRESSURE_IO};
	struct logged l = {.boot_usec = now, .run = row->h.run};

	if (!v->alive || !row->at || (v->len && v->samples[v->len - 1].boot_usec >= now))
		return;
	take_figure(&l, LOGGED_MEMORY, &row->now, CGSTAT_MEM_CURRENT);
	take_figure(&l, LOGGED_LIMIT, &row->now, CGSTAT_MEM_LIMIT);
	take_figure(&l, LOGGED_PIDS, &row->now, CGSTAT_PIDS_CURRENT);
	for (unsigned i = 0; i < LOGGED_FIGURES - LOGGED_STALLS; i++)
		take_figure(&l, LOGGED_STALLS + i, &row->now,
			cgstat_pressure(
				order[i / PRESSURE_KINDS], i % PRESSURE_KINDS, PRESSURE_TOTAL));
	v->samples[v->len++] = l;
}

/* What lies before the span, but for the newest of it: the first column begins there. */
static void trim(struct pressure_view *v)
{
	size_t before = 0;

	while (before + 1 < v->len && v->samples[before + 1].boot_usec < v->from)
		before++;
	v->len -= before;
	memmove(v->samples, v->samples + before, v->len * sizeof(v->samples[0]));
}

/* The journal ---------------------------------------------------------------------------------- */

struct pass {
	struct pressure_view *v;
	uint64_t boot_usec, real_usec; /* newest record */
	uint64_t down;		       /* of the end; 0: there was none */
};

static void look_at_times(struct pass *p, const struct record *rec)
{
	p->boot_usec = rec->boot_usec;
	p->real_usec = rec->real_usec;
	if (rec->type == RECORD_DOWN)
		p->down = rec->boot_usec;
	else if (rec->type == RECORD_OPENED)
		p->down = 0;
}

/* Its own place, or that of its intent. Full: the oldest makes room. */
static struct pressure_action *action_of(struct pressure_view *v, uint64_t act)
{
	for (size_t i = 0; i < v->actions_len; i++)
		if (v->actions[i].act == act)
			return &v->actions[i];
	if (v->actions_len == ACTIONS_SHOWN) {
		memmove(v->actions, v->actions + 1, --v->actions_len * sizeof(v->actions[0]));
		v->actions_more++;
	}
	return &v->actions[v->actions_len++];
}

static void note_action(struct pressure_view *v, const struct record *rec)
{
	struct event_msg e;
	struct rec_rule b = {0};
	struct pressure_action *a;
	const Holdfast__V1__RuleAct *m = &e.detail.rule;

	memcpy(&b, record_body(rec), rec->body_len < sizeof(b) ? rec->body_len : sizeof(b));
	event_from_record(&e, rec);
	if (e.event.detail_case != HOLDFAST__V1__EVENT__DETAIL_RULE)
		return;
	a = action_of(v, b.act);
	*a = (struct pressure_action){
		.act = b.act,
		.boot_usec = rec->boot_usec,
		.real_usec = rec->real_usec,
		.done = rec->type == RECORD_RULE_DONE,
		.error_number = m->error_number,
		.value = m->value,
		.threshold = m->threshold,
	};
	snprintf(a->rule, sizeof(a->rule), "%s", m->rule);
	snprintf(a->why, sizeof(a->why), "%s", m->why);
	snprintf(a->action, sizeof(a->action), "%s", m->action);
	snprintf(a->result, sizeof(a->result), "%s", m->result);
}

/* A clock that went back is that of another boot: what was before it is not in the span. */
static void look_for_actions(struct pass *p, const struct record *rec)
{
	struct pressure_view *v = p->v;

	if (rec->boot_usec < p->boot_usec)
		v->actions_len = v->actions_more = 0;
	p->boot_usec = rec->boot_usec;
	if ((rec->type == RECORD_RULE_ACTION || rec->type == RECORD_RULE_DONE) &&
		rec->boot_usec >= v->from && rec->boot_usec <= v->to)
		note_action(v, rec);
}

/* None yet is none: it is being born. */
static int pass_over(
	struct pass *p, int dirfd, void (*take)(struct pass *p, const struct record *rec))
{
	struct journal_reader reader;
	const struct record *rec;
	uint64_t missed;
	int r = journal_reader_open(&reader, dirfd, 0);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	while ((r = journal_reader_next(&reader, &rec, &missed)) > 0)
		if (r == JOURNAL_RECORD)
			take(p, rec);
	journal_reader_finish(&reader);
	return r;
}

/* Both ------------------------------------------------------------------------------------------
 */

static int take_span(struct pressure_view *v, int dirfd, uint64_t since_usec, uint64_t now)
{
	struct pass times = {.v = v};
	int r = pass_over(&times, dirfd, look_at_times);
	uint64_t newest = v->len ? v->samples[v->len - 1].boot_usec : 0;

	if (r < 0)
		return r;
	v->real_offset = now_real() - now;
	v->to = now;
	if (!v->alive && times.boot_usec) {
		v->real_offset = times.real_usec - times.boot_usec;
		v->to = times.down ? times.down : times.boot_usec;
		if (newest > v->to)
			v->to = newest;
	}
	v->from = v->to > since_usec ? v->to - since_usec : 0;
	return 0;
}

static int take_all(struct pressure_view *v, const struct sample *row, uint64_t since_usec)
{
	uint64_t now = now_boot();
	struct pass actions = {.v = v};
	int r;

	snprintf(v->id, sizeof(v->id), "%s", row->dir.id);
	v->state = sample_word(row->state);
	v->alive = sample_alive(row);
	take_ring(v, row);
	take_now(v, row, now);
	r = take_span(v, row->dir.dirfd, since_usec, now);
	if (r < 0)
		return r;
	trim(v);
	return pass_over(&actions, row->dir.dirfd, look_for_actions);
}

int pressure_read(const char *id, uint64_t since_usec, struct pressure_view *ret)
{
	char *name = strdup(id), *ids[] = {name};
	struct samples s = {0};
	int r = name ? samples_open(&s) : fault(-ENOMEM, "%s", id);

	memset(ret, 0, sizeof(*ret));
	if (r == 0)
		r = samples_take(&s, ids, 1);
	if (r == 0 && s.len == 0)
		r = fault_plain(-ENOENT, "%s: was removed meanwhile", id);
	if (r == 0)
		r = take_all(ret, s.rows[0], since_usec);
	samples_close(&s);
	free(name);
	return r;
}
