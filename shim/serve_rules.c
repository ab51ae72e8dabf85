/* The rules' part of GetState and of Update. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/base/fault.h"
#include "ipc/base/mem.h"
#include "ipc/fds.h"
#include "ipc/proto/holdfast/v1/supervisor.pb-c.h"
#include "monitor/cgstat.h"
#include "monitor/probe.h"
#include "monitor/rule_check.h"
#include "monitor/rule_text.h"
#include "shim/shim.h"

static void fill(struct overload *o, unsigned i, struct overload_rule_msg *ret)
{
	const struct rules_state *state = &overload_slot(o, o->mem->current)->state;
	const struct rule_state *rs = &state->rule[i];

	holdfast__v1__rule_state__init(&ret->m);
	rule_print(&o->rules.rule[i], ret->text, sizeof(ret->text));
	ret->m.name = o->rules.rule[i].name;
	ret->m.text = ret->text;
	ret->m.phase = (Holdfast__V1__RulePhase)rs->phase;
	ret->m.fired = rs->fired;
	ret->m.value = ret->value;
	if (state->known >> i & 1)
		signal_value_text(ret->value, sizeof(ret->value),
			(enum rule_signal)o->rules.rule[i].signal, rs->value);
}

void overload_state(struct shim *s, struct overload_msg *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (unsigned i = 0; s->overload && i < s->overload->rules.len; i++) {
		fill(s->overload, i, &ret->rule[i]);
		ret->list[ret->len++] = &ret->rule[i].m;
	}
}

/* Update ---------------------------------------------------------------------------------------
 */

static int add_rule(struct rules *r, const char *text)
{
	struct rule one;
	int err = rule_parse("rule", text, &one);

	return err < 0 ? err : rules_add("rule", r, &one);
}

/* All of them; the bits of those that came with a set in *of_set. */
static int read_set(struct rules *r, const Holdfast__V1__RuleSet *set, uint32_t *of_set)
{
	int err = 0;

	for (size_t i = 0; err == 0 && i < set->n_rules; i++)
		err = add_rule(r, set->rules[i]);
	*of_set = UINT32_MAX << r->len;
	for (size_t i = 0; err == 0 && i < set->n_presets; i++)
		err = rules_preset("preset", set->presets[i], r);
	return err;
}

static bool limited(
	const struct cgstat *now, enum cgstat_field f, const struct changed_limits *c, unsigned n)
{
	return c->given >> n & 1 ? !(c->none >> n & 1) : cgstat_has(now, f);
}

/* The kernel knows its limits, wherever they are from; while it has no group nobody does. */
static void look_at_limits(
	const struct shim *s, const struct changed_limits *c, struct rule_place *ret)
{
	struct cgstat_dirs dirs;
	struct cgstat now;

	if (s->journal.now.init_pid <= 0)
		return;
	cgstat_init(&dirs);
	if (cgstat_open(&dirs, &s->hier, s->settings.cgroup) > 0) {
		cgstat_read(&dirs, &now);
		ret->limits_known = true;
		ret->memory = limited(&now, CGSTAT_MEM_LIMIT, c, CHANGED_MEMORY);
		ret->pids = limited(&now, CGSTAT_PIDS_LIMIT, c, CHANGED_PIDS);
		ret->cpus = limited(&now, CGSTAT_CPU_LIMIT, c, CHANGED_CPUS);
	}
	cgstat_close(&dirs);
}

static int check(const struct shim *s, const struct changed_limits *c, struct overload_change *n,
	uint32_t of_set)
{
	const struct health_conf *health = s->health.conf;
	struct rule_place place = {
		.hier = &s->hier,
		.watchdog =
			s->settings.flags & SETTINGS_NOTIFY || (health && health->watchdog_usec),
		.probes = health && probes_judging(health),
		.stop_grace_usec = s->settings.stop_grace_usec,
	};
	int r;

	look_at_limits(s, c, &place);
	r = rules_check(&n->rules, of_set, &place, n->left_out, sizeof(n->left_out));
	return r < 0 ? r : 0;
}

static void name_all(struct overload_change *n)
{
	size_t at = 0;

	for (unsigned i = 0; i < n->rules.len && at < sizeof(n->names); i++)
		at += (size_t)snprintf(n->names + at, sizeof(n->names) - at, "%s%s", at ? " " : "",
			n->rules.rule[i].name);
}

int overload_take(struct shim *s, const Holdfast__V1__RuleSet *set,
	const struct changed_limits *limits, struct overload_change **ret)
{
	auto_free struct overload_change *n = calloc(1, sizeof(*n));
	uint32_t of_set = 0;
	int r = n ? read_set(&n->rules, set, &of_set) : fault(-ENOMEM, "rules");

	if (r == 0)
		r = check(s, limits, n, of_set);
	if (r < 0)
		return r;
	name_all(n);
	*ret = take(n);
	return 0;
}

int overload_store(const struct overload_change *c)
{
	return rules_write(SHIM_FD_STATE, &c->rules);
}

int overload_restore(const struct shim *s)
{
	return rules_write(SHIM_FD_STATE, s->overload ? &s->overload->rules : NULL);
}
