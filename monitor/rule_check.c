#include "monitor/rule_check.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/mem.h"
#include "monitor/cgthrottle.h"
#include "monitor/sense.h"

#define WINDOW_MIN (500 * USEC_PER_MSEC) /* the kernel's floor, and enough samples of ours */
#define PSI_MAX	   (10 * USEC_PER_SEC)	 /* the kernel's ceiling */
#define WINDOW_MAX (600 * USEC_PER_SEC)

/* Everything that a check may look at. */
struct check {
	const struct rule_place *place;
	struct rule *rule;
	uint64_t step; /* of pressure windows, 0: any */
	bool rounded;
};

static int refuse(const struct check *c, const char *what)
{
	return fault_plain(-EINVAL, "rule \"%s\": %s: %s", c->rule->name,
		signal_info((enum rule_signal)c->rule->signal)->name, what);
}

static bool pressure(const struct check *c)
{
	return signal_is_pressure((enum rule_signal)c->rule->signal);
}

static int check_pressure(struct check *c)
{
	if (!pressure(c))
		return 0;
	if (access("/proc/pressure/memory", R_OK) < 0)
		return refuse(c, "this kernel tells no pressure (boot it with psi=1)");
	if (!c->place->hier->unified[0])
		return refuse(
			c, "pressure is told in a cgroup v2 tree, and there is none (mount it)");
	return 0;
}

static int check_window(struct check *c)
{
	uint64_t window = c->rule->window_usec;

	if (window && window < WINDOW_MIN)
		return refuse(c, "its window is under the floor of 500ms (use over 2s)");
	if (pressure(c) && window > PSI_MAX)
		return refuse(
			c, "its window is over the kernel's 10s (use over 10s, and for TIME)");
	if (window > WINDOW_MAX)
		return refuse(c, "its window is over 10m (use less, and for TIME)");
	return 0;
}

/* Not a mistake: what the kernel takes of who lacks a privilege. */
static void round_window(struct check *c)
{
	uint64_t window = c->rule->window_usec;

	if (!pressure(c) || !c->step || window % c->step == 0)
		return;
	c->rule->window_usec = (window + c->step - 1) / c->step * c->step;
	c->rounded = true;
}

static int check_limits(struct check *c)
{
	const struct rule_place *p = c->place;

	if (!p->limits_known)
		return 0;
	switch (c->rule->signal) {
	case SIGNAL_MEMORY_USAGE:
	case SIGNAL_MEMORY_WORKING_SET:
	case SIGNAL_MEMORY_UNRECLAIMABLE:
	case SIGNAL_MEMORY_RECLAIM:
	case SIGNAL_MEMORY_EVENTS_MAX:
		return p->memory ? 0 : refuse(c, "there is no limit of memory (add --memory)");
	case SIGNAL_PIDS_MAX:
		return p->pids ? 0 : refuse(c, "there is no limit of processes (add --pids-limit)");
	case SIGNAL_CPU_THROTTLED:
		return p->cpus ? 0 : refuse(c, "there is no limit of CPU (add --cpus)");
	default:
		return 0;
	}
}

/* The most that its signal can be: a missed watchdog ends the run, and counts anew with the next.
 */
static uint64_t most_of(enum rule_signal s)
{
	if (signal_is_percent(s))
		return SIGNAL_WHOLE;
	return s == SIGNAL_WATCHDOG || s == SIGNAL_HEALTH ? 1 : UINT64_MAX;
}

static int check_reach(struct check *c)
{
	const struct rule *r = c->rule;
	uint64_t most = most_of((enum rule_signal)r->signal);

	if (r->threshold > most || (r->threshold == most && !r->or_equal))
		return refuse(c, "its signal is never above that (use less)");
	return 0;
}

static int check_source(struct check *c)
{
	const struct cghier *h = c->place->hier;

	if (c->rule->signal == SIGNAL_MEMORY_EVENTS_HIGH && !h->at[CG_MEMORY].v2)
		return refuse(c, "only cgroup v2 counts that, and this host has memory on v1 (use "
				 "memory.usage)");
	if (c->rule->signal == SIGNAL_PIDS_MAX && !h->at[CG_PIDS].root[0])
		return refuse(c, "this host has no pids controller (enable it)");
	if (c->rule->signal == SIGNAL_WATCHDOG && !c->place->watchdog)
		return refuse(c, "nobody says WATCHDOG=1 (add --watchdog)");
	if (c->rule->signal == SIGNAL_HEALTH && !c->place->probes)
		return refuse(
			c, "nothing judges its health (add --probe liveness=, or --health-cmd)");
	return 0;
}

static enum throttle_what what_of(const struct rule *r)
{
	if (r->signal == SIGNAL_IO_PRESSURE_SOME || r->signal == SIGNAL_IO_PRESSURE_FULL)
		return THROTTLE_IO;
	return r->signal >= SIGNAL_CPU_PRESSURE_SOME && r->signal <= SIGNAL_CPU_PRESSURE_FULL
		       ? THROTTLE_CPU
		       : THROTTLE_MEMORY;
}

static int check_actions(struct check *c)
{
	const struct cghier *h = c->place->hier;

	for (unsigned i = 0; i < c->rule->steps_len; i++) {
		const struct rule_step *s = &c->rule->steps[i];

		if (s->action == ACTION_THROTTLE && !cgthrottle_can(h, what_of(c->rule)))
			return refuse(c,
				"throttle: this host has not the cgroup controller for it (use "
				"another action)");
		if (s->action == ACTION_FREEZE && !h->unified[0] && !h->at[CG_FREEZER].root[0])
			return refuse(c, "freeze: this host has no freezer (use another action)");
		if ((s->action == ACTION_RESTART || s->action == ACTION_STOP) &&
			s->arg == RULE_GRACE_STD &&
			c->place->stop_grace_usec > c->rule->cooldown_usec)
			return refuse(c,
				"the grace is --stop-timeout, and longer than the cooldown (use "
				"restart(TIME), or more cooldown)");
		if (s->action == ACTION_DUMP && s->arg && access(c->rule->hook, X_OK) < 0)
			return refuse(
				c, "dump: its hook can't be executed (see its path and mode)");
	}
	return 0;
}

static int (*const checks[])(struct check *c) = {
	check_window, check_pressure, check_limits, check_source, check_reach, check_actions};

static int check_all(struct check *c)
{
	int r = 0;

	for (size_t k = 0; r == 0 && k < array_size(checks); k++)
		r = checks[k](c);
	return r;
}

/* A set is for every container of its kind, also for one without all of these limits. */
static void leave_out(struct rules *r, unsigned i, char *told, size_t size)
{
	size_t len = strlen(told);

	snprintf(told + len, size - len, "%s%s", len ? "; " : "", fault_text());
	r->len--;
	memmove(&r->rule[i], &r->rule[i + 1], (r->len - i) * sizeof(r->rule[0]));
}

int rules_check(struct rules *r, uint32_t of_set, const struct rule_place *place, char *left_out,
	size_t size)
{
	struct check c = {.place = place, .step = r->len ? alarm_window_step() : 0};

	left_out[0] = '\0';
	for (unsigned i = 0; i < r->len; of_set >>= 1) {
		int err;

		c.rule = &r->rule[i];
		err = check_all(&c);
		if (err < 0 && !(of_set & 1))
			return err;
		if (err < 0) {
			leave_out(r, i, left_out, size);
			continue;
		}
		round_window(&c);
		i++;
	}
	return c.rounded ? RULES_ROUNDED : RULES_FINE;
}
