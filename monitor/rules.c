#include "monitor/rules.h"

#include <string.h>

#include "ipc/base/mem.h"

static const char *const names[ACTIONS] = {
	[ACTION_EVENT] = "event",
	[ACTION_NOTIFY] = "notify",
	[ACTION_THROTTLE] = "throttle",
	[ACTION_FREEZE] = "freeze",
	[ACTION_DUMP] = "dump",
	[ACTION_RESTART] = "restart",
	[ACTION_STOP] = "stop",
	[ACTION_KILL] = "kill",
};

const char *rule_action_name(enum rule_action a)
{
	return (unsigned)a < ACTIONS && names[a] ? names[a] : "?";
}

bool rule_action_ends(enum rule_action a)
{
	return a == ACTION_RESTART || a == ACTION_STOP || a == ACTION_KILL;
}

void rules_state_init(struct rules_state *s)
{
	memset(s, 0, sizeof(*s));
}

/* One call's work. */
struct turn {
	const struct rules *rules;
	struct rules_state *state;
	uint64_t now;
	struct rule_act *acts;
	unsigned len;
};

static void say(struct turn *t, unsigned i, enum rule_did did, unsigned step)
{
	const struct rule_state *s = &t->state->rule[i];

	t->acts[t->len++] = (struct rule_act){
		.did = (uint8_t)did,
		.rule = (uint8_t)i,
		.step = (uint8_t)step,
		.value = s->value,
		.since = s->since,
	};
}

static bool above(const struct rule *r, uint64_t value)
{
	return value > r->threshold || (r->or_equal && value == r->threshold);
}

static bool on_ladder(const struct rule_state *s)
{
	return s->phase == RULE_ACTIVE || s->phase == RULE_SPENT;
}

/* Beyond its last step: its limit held it, nothing was done. */
bool rule_on_ladder(const struct rule *r, const struct rule_state *s)
{
	return on_ladder(s) && s->step <= r->steps_len;
}

static void clear(struct turn *t, unsigned i)
{
	struct rule_state *s = &t->state->rule[i];

	s->ready = t->now + t->rules->rule[i].cooldown_usec;
	if (rule_on_ladder(&t->rules->rule[i], s))
		say(t, i, RULE_CLEARED, s->step);
	s->phase = RULE_QUIET;
}

/* May one more ladder begin within the limit's time? */
static bool within_limit(const struct rule *r, const struct rule_state *s, uint64_t now)
{
	unsigned n = 0;

	for (unsigned i = 0; r->limit_n && i < s->times_len && i < RULE_LIMIT_N; i++)
		n += now - s->times[i] < r->limit_usec;
	return !r->limit_n || n < r->limit_n;
}

static void count(struct rule_state *s, uint64_t now)
{
	s->times[s->times_next] = now;
	s->times_next = (s->times_next + 1) % RULE_LIMIT_N;
	s->times_len += s->times_len < RULE_LIMIT_N;
	s->fired++;
}

/* The next steps, as many as are due now: a pause counts from when the step before was taken, not
 * from when it was due. */
static void climb(struct turn *t, unsigned i)
{
	const struct rule *r = &t->rules->rule[i];
	struct rule_state *s = &t->state->rule[i];

	while (s->step < r->steps_len && t->now >= s->due) {
		say(t, i, RULE_STEP, s->step);
		s->step++;
		if (s->step < r->steps_len)
			s->due = t->now + r->steps[s->step].pause_usec;
	}
	if (s->step >= r->steps_len) {
		s->phase = RULE_SPENT;
		s->ready = t->now + r->cooldown_usec;
	}
}

static void fire(struct turn *t, unsigned i)
{
	const struct rule *r = &t->rules->rule[i];
	struct rule_state *s = &t->state->rule[i];

	if (!within_limit(r, s, t->now)) {
		say(t, i, RULE_HELD, 0);
		s->phase = RULE_SPENT;
		s->step = r->steps_len + 1;
		s->ready = t->now + (r->cooldown_usec > r->limit_usec / 2 ? r->cooldown_usec
									  : r->limit_usec / 2);
		return;
	}
	count(s, t->now);
	say(t, i, RULE_FIRED, 0);
	s->phase = RULE_ACTIVE;
	s->step = 0;
	s->due = t->now;
	climb(t, i);
}

static void pend(struct turn *t, unsigned i)
{
	struct rule_state *s = &t->state->rule[i];

	if (s->phase == RULE_QUIET) {
		s->phase = RULE_PENDING;
		s->since = t->now;
	}
	if (t->now - s->since >= t->rules->rule[i].for_usec && t->now >= s->ready)
		fire(t, i);
}

static void judge(struct turn *t, unsigned i)
{
	const struct rule *r = &t->rules->rule[i];
	struct rule_state *s = &t->state->rule[i];

	if (on_ladder(s) && s->value <= r->clear) {
		clear(t, i);
		return;
	}
	if (s->phase == RULE_ACTIVE) {
		climb(t, i);
		return;
	}
	if (s->phase == RULE_SPENT && t->now >= s->ready) {
		clear(t, i); /* and from the bottom again, should it go on */
		s->ready = t->now;
		return;
	}
	if (s->phase == RULE_SPENT)
		return;
	if (above(r, s->value))
		pend(t, i);
	else
		s->phase = RULE_QUIET;
}

/* Nobody tells the value: a ladder waits, a condition that nobody sees does not hold. */
static void judge_blind(struct turn *t, unsigned i)
{
	if (t->state->rule[i].phase == RULE_PENDING)
		t->state->rule[i].phase = RULE_QUIET;
}

/* Another run: what held for the one before has ended with it. Cooldowns and limits go on. */
static void begin_run(struct turn *t, uint32_t run)
{
	t->state->run = run;
	for (unsigned i = 0; i < t->rules->len; i++) {
		struct rule_state *s = &t->state->rule[i];

		if (on_ladder(s))
			clear(t, i);
		s->phase = RULE_QUIET;
		s->window = (struct window){0};
	}
}

unsigned rules_step(const struct rules *r, struct rules_state *s, const struct sample *in,
	uint64_t now, struct rule_act ret[RULE_ACTS_MAX])
{
	struct turn t = {.rules = r, .state = s, .acts = ret};

	t.now = s->seen = now > s->seen ? now : s->seen;
	if (in->run != s->run)
		begin_run(&t, in->run);
	for (unsigned i = 0; i < r->len && i < RULES_MAX; i++) {
		const struct rule *rule = &r->rule[i];
		bool told;

		if (t.len + RULE_STEPS + 2 > RULE_ACTS_MAX)
			break;
		told = window_value(&s->rule[i].window, (enum rule_signal)rule->signal,
			rule->window_usec, in, t.now, &s->rule[i].value);

		s->known = told ? s->known | 1u << i : s->known & ~(1u << i);
		if (told)
			judge(&t, i);
		else
			judge_blind(&t, i);
	}
	return t.len;
}

/* Below a half of its threshold a stall is the kernel's to tell. */
static bool near(const struct rule *r, uint64_t value)
{
	enum signal_kind kind = signal_info((enum rule_signal)r->signal)->kind;

	return (kind == KIND_SHARE || kind == KIND_RATIO) && value > r->threshold / 2;
}

bool rules_awake(const struct rules *r, const struct rules_state *s)
{
	for (unsigned i = 0; i < r->len && i < RULES_MAX; i++)
		if (s->known >> i & 1 &&
			(s->rule[i].phase != RULE_QUIET || near(&r->rule[i], s->rule[i].value)))
			return true;
	return false;
}
