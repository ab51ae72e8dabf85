/* sources: monitor/rules.c monitor/signals.c */
/* Rules by their promises: when they fire, what they do and in which order, and when they stop. */
#include "monitor/rules.h"

#include <string.h>

#include "tests/unit/unit.h"

#define MS 1000ULL
#define S  1000000ULL
#define T0 (1000 * S)

struct fix {
	struct rules rules;
	struct rules_state state;
	struct sample in;
	struct rule_act acts[RULE_ACTS_MAX];
	unsigned len;
	uint64_t now;
};

/* memory.usage > 80% for 1s: notify, 10s, throttle, 20s, restart; cooldown 60s; clear 70% */
static struct fix fix_new(void)
{
	struct fix f = {.now = T0};
	struct rule *r = &f.rules.rule[0];

	rules_state_init(&f.state);
	f.rules.len = 1;
	*r = (struct rule){
		.name = "leak",
		.signal = SIGNAL_MEMORY_USAGE,
		.threshold = 8000,
		.clear = 7000,
		.for_usec = 1 * S,
		.cooldown_usec = 60 * S,
		.steps_len = 3,
		.steps = {{ACTION_NOTIFY, 0, 0, 0}, {ACTION_THROTTLE, 0, 50, 10 * S},
			{ACTION_RESTART, 0, RULE_GRACE_STD, 20 * S}},
	};
	f.in.run = 1;
	f.in.has = 1u << INPUT_MEMORY_USAGE;
	return f;
}

static unsigned at(struct fix *f, uint64_t now, uint64_t usage)
{
	f->in.in[INPUT_MEMORY_USAGE] = usage;
	f->now = now;
	f->len = rules_step(&f->rules, &f->state, &f->in, now, f->acts);
	return f->len;
}

static void assert_act(const struct fix *f, unsigned i, enum rule_did did, unsigned step)
{
	assert_true(i < f->len);
	assert_int_equal(f->acts[i].did, did);
	if (did == RULE_STEP)
		assert_int_equal(f->acts[i].step, step);
}

static void test_fires_after_for_and_climbs_with_pauses(void **unused)
{
	struct fix f = fix_new();

	assert_int_equal(at(&f, T0, 8000), 0); /* not above */
	assert_int_equal(at(&f, T0 + 1 * S, 8001), 0);
	assert_true(rules_awake(&f.rules, &f.state));
	assert_int_equal(at(&f, T0 + 2 * S - 1, 9000), 0);
	assert_int_equal(at(&f, T0 + 2 * S, 9000), 2);
	assert_act(&f, 0, RULE_FIRED, 0);
	assert_act(&f, 1, RULE_STEP, 0);
	assert_int_equal(f.acts[0].value, 9000);
	assert_int_equal(at(&f, T0 + 12 * S - 1, 9000), 0);
	assert_int_equal(at(&f, T0 + 12 * S, 9000), 1);
	assert_act(&f, 0, RULE_STEP, 1);
	assert_int_equal(at(&f, T0 + 32 * S - 1, 9000), 0);
	assert_int_equal(at(&f, T0 + 32 * S, 9000), 1);
	assert_act(&f, 0, RULE_STEP, 2);
	assert_int_equal(at(&f, T0 + 33 * S, 9000), 0);
}

static void test_a_dip_below_the_threshold_starts_for_anew(void **unused)
{
	struct fix f = fix_new();

	at(&f, T0, 8500);
	at(&f, T0 + 900 * MS, 8000);
	assert_int_equal(at(&f, T0 + 1 * S, 8500), 0);
	assert_int_equal(at(&f, T0 + 1999 * MS, 8500), 0);
	assert_int_equal(at(&f, T0 + 2 * S, 8500), 2);
}

static void test_between_the_thresholds_the_ladder_goes_on(void **unused)
{
	struct fix f = fix_new();

	at(&f, T0, 9000);
	assert_int_equal(at(&f, T0 + 1 * S, 9000), 2);
	assert_int_equal(at(&f, T0 + 11 * S, 7001), 1);
	assert_act(&f, 0, RULE_STEP, 1);
	assert_int_equal(at(&f, T0 + 12 * S, 7000), 1);
	assert_act(&f, 0, RULE_CLEARED, 0);
	assert_false(rules_awake(&f.rules, &f.state));
}

static void test_cooldown_after_clearing(void **unused)
{
	struct fix f = fix_new();

	at(&f, T0, 9000);
	at(&f, T0 + 1 * S, 9000);
	at(&f, T0 + 2 * S, 1000);
	at(&f, T0 + 3 * S, 9000);
	assert_int_equal(at(&f, T0 + 62 * S - 1, 9000), 0);
	assert_int_equal(at(&f, T0 + 62 * S, 9000), 2);
}

static void test_a_spent_ladder_begins_again_after_the_cooldown(void **unused)
{
	struct fix f = fix_new();

	f.rules.rule[0].steps_len = 1;
	at(&f, T0, 9000);
	assert_int_equal(at(&f, T0 + 1 * S, 9000), 2);
	assert_int_equal(at(&f, T0 + 61 * S - 1, 9000), 0);
	assert_int_equal(at(&f, T0 + 61 * S, 9000), 1);
	assert_act(&f, 0, RULE_CLEARED, 0);
	at(&f, T0 + 61 * S, 9000);
	assert_int_equal(at(&f, T0 + 62 * S, 9000), 2);
}

static void test_another_run_ends_the_ladder_and_keeps_the_cooldown(void **unused)
{
	struct fix f = fix_new();

	at(&f, T0, 9000);
	at(&f, T0 + 1 * S, 9000);
	f.in.run = 2;
	assert_int_equal(at(&f, T0 + 2 * S, 9000), 1);
	assert_act(&f, 0, RULE_CLEARED, 0);
	assert_int_equal(at(&f, T0 + 20 * S, 9000), 0);
	assert_int_equal(at(&f, T0 + 62 * S, 9000), 2);
}

static void test_limit(void **unused)
{
	struct fix f = fix_new();

	f.rules.rule[0].limit_n = 2;
	f.rules.rule[0].limit_usec = 1000 * S;
	f.rules.rule[0].cooldown_usec = 0;
	f.rules.rule[0].for_usec = 0;
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(at(&f, T0 + i * S, 9000), 2);
		assert_int_equal(at(&f, T0 + i * S + 1, 0), 1);
	}
	assert_int_equal(at(&f, T0 + 2 * S, 9000), 1);
	assert_act(&f, 0, RULE_HELD, 0);
	assert_int_equal(at(&f, T0 + 3 * S, 9000), 0); /* said once */
	assert_int_equal(at(&f, T0 + 4 * S, 0), 0);    /* nothing was done: nothing is cleared */
	assert_int_equal(at(&f, T0 + 1504 * S, 9000), 2);
}

static void test_what_nobody_tells_does_not_hold(void **unused)
{
	struct fix f = fix_new();

	at(&f, T0, 9000);
	f.in.has = 0;
	assert_int_equal(at(&f, T0 + 5 * S, 9000), 0);
	assert_false(rules_awake(&f.rules, &f.state));
	f.in.has = 1u << INPUT_MEMORY_USAGE;
	assert_int_equal(at(&f, T0 + 6 * S, 9000), 0);
	assert_int_equal(at(&f, T0 + 7 * S, 9000), 2);
}

static void test_steps_without_pause_come_together(void **unused)
{
	struct fix f = fix_new();

	for (unsigned i = 0; i < 3; i++)
		f.rules.rule[0].steps[i].pause_usec = 0;
	at(&f, T0, 9000);
	assert_int_equal(at(&f, T0 + 1 * S, 9000), 4);
	for (unsigned i = 0; i < 3; i++)
		assert_act(&f, i + 1, RULE_STEP, i);
}

static void test_time_that_goes_back_is_time_that_stands(void **unused)
{
	struct fix f = fix_new();

	at(&f, T0, 9000);
	assert_int_equal(at(&f, T0 - 500 * S, 9000), 0);
	assert_int_equal(at(&f, T0 + 1 * S, 9000), 2);
	assert_int_equal(at(&f, T0 - 500 * S, 9000), 0);
}

/* Signals -------------------------------------------------------------------------------------- */

static uint64_t value_of(enum rule_signal s, uint64_t window, const uint64_t (*points)[3], size_t n)
{
	const struct signal_info *i = signal_info(s);
	struct window w = {0};
	struct sample in = {.run = 1, .has = UINT64_MAX};
	uint64_t v = 0;

	for (size_t k = 0; k < n; k++) {
		in.in[i->input] = points[k][1];
		if (i->kind == KIND_RATIO || i->kind == KIND_GATED)
			in.in[i->second] = points[k][2];
		assert_true(window_value(&w, s, window, &in, T0 + points[k][0], &v));
	}
	return v;
}

#define VALUE(s, window, ...)                                                       \
	({                                                                          \
		static const uint64_t points_[][3] = {__VA_ARGS__};                 \
		value_of(s, window, points_, sizeof(points_) / sizeof(points_[0])); \
	})

static void test_kinds_of_signals(void **unused)
{
	/* a half of each of two seconds */
	assert_int_equal(VALUE(SIGNAL_MEMORY_PRESSURE_FULL, 2 * S, {0, 7, 0}, {1 * S, 7 + S / 2, 0},
				 {2 * S, 7 + S, 0}),
		5000);
	/* half a window seen: the other half counts as quiet */
	assert_int_equal(VALUE(SIGNAL_MEMORY_PRESSURE_FULL, 2 * S, {0, 0, 0}, {1 * S, S, 0}), 5000);
	/* several CPUs' stalls never make more than all of the time */
	assert_int_equal(
		VALUE(SIGNAL_CPU_PRESSURE_SOME, 1 * S, {0, 0, 0}, {1 * S, 3 * S, 0}), 10000);
	assert_int_equal(VALUE(SIGNAL_CPU_THROTTLED, 2 * S, {0, 10, 100}, {2 * S, 13, 104}), 7500);
	assert_int_equal(VALUE(SIGNAL_CPU_THROTTLED, 2 * S, {0, 10, 100}, {2 * S, 10, 100}), 0);
	assert_int_equal(VALUE(SIGNAL_PIDS_MAX, 2 * S, {0, 5, 0}, {1 * S, 9, 0}), 4);
	/* what is older than the window does not count */
	assert_int_equal(VALUE(SIGNAL_PIDS_MAX, 2 * S, {0, 0, 0}, {1 * S, 9, 0}, {2 * S, 9, 0},
				 {3 * S, 9, 0}, {4 * S, 9, 0}),
		0);
	assert_int_equal(VALUE(SIGNAL_OUTPUT, 2 * S, {0, 0, 0}, {2 * S, 4u << 20, 0}), 2u << 20);
	assert_int_equal(VALUE(SIGNAL_MEMORY_USAGE, 0, {0, 1, 0}, {1 * S, 9000, 0}), 9000);
	assert_int_equal(VALUE(SIGNAL_MEMORY_RECLAIM, 2 * S, {0, 9500, 3}, {1 * S, 9500, 3}), 0);
	assert_int_equal(VALUE(SIGNAL_MEMORY_RECLAIM, 2 * S, {0, 9500, 3}, {1 * S, 9500, 4}), 9500);
	/* a group made anew counts from 0 */
	assert_int_equal(VALUE(SIGNAL_PIDS_MAX, 2 * S, {0, 50, 0}, {1 * S, 1, 0}), 0);
}

static void test_every_signal_has_a_name_that_is_found(void **unused)
{
	for (unsigned s = 1; s < SIGNALS; s++) {
		const char *name = signal_info((enum rule_signal)s)->name;

		assert_int_equal(signal_find(name, strlen(name)), s);
		assert_int_equal(signal_find(name, strlen(name) - 1), 0);
	}
	assert_null(signal_info((enum rule_signal)0));
	assert_null(signal_info(SIGNALS));
}

/* Properties over random walks ----------------------------------------------------------------- */

static uint64_t rng;

static uint64_t random_below(uint64_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng % n;
}

struct watched {
	bool on; /* between FIRED and CLEARED */
	bool throttled;
	uint64_t last_step, ended, above_since;
	unsigned next;
	bool was_above;
};

static void watch(struct fix *f, struct watched *w, uint64_t usage)
{
	const struct rule *r = &f->rules.rule[0];
	bool above = usage > r->threshold;

	if (above && !w->was_above)
		w->above_since = f->now;
	w->was_above = above;
	for (unsigned i = 0; i < f->len; i++) {
		const struct rule_act *a = &f->acts[i];

		switch (a->did) {
		case RULE_FIRED:
			assert_false(w->on);
			assert_false(w->throttled); /* a restore came after every throttle */
			assert_true(above && f->now - w->above_since >= r->for_usec);
			assert_true(!w->ended || f->now - w->ended >= r->cooldown_usec);
			w->on = true;
			w->next = 0;
			break;
		case RULE_STEP:
			assert_true(w->on);
			assert_int_equal(a->step, w->next);
			if (w->next)
				assert_true(f->now - w->last_step >= r->steps[w->next].pause_usec);
			w->throttled |= r->steps[w->next].action == ACTION_THROTTLE;
			w->last_step = f->now;
			if (++w->next == r->steps_len)
				w->ended = f->now;
			break;
		case RULE_CLEARED:
			assert_true(w->on);
			w->on = w->throttled = false;
			if (w->next < r->steps_len)
				w->ended = f->now;
			break;
		default:
			fail();
		}
	}
}

static void walk(uint64_t seed)
{
	struct fix f = fix_new(), twin;
	struct watched w = {0};
	uint64_t now = T0, usage = 5000;

	rng = seed * 2654435761u + 1;
	for (int i = 0; i < 3000; i++) {
		now += random_below(20) ? random_below(3 * S) : random_below(200 * S);
		usage = random_below(8) ? usage + random_below(1200) : random_below(10000);
		usage = usage > 600 ? usage - 600 : 0;
		usage = usage > 10000 ? 10000 : usage;
		f.in.run += random_below(200) == 0;
		if (f.in.run != f.state.run) { /* conditions begin anew */
			w.was_above = false;
		}
		twin = f; /* another shim goes on with a copy of the state */
		at(&f, random_below(50) ? now : now - 10 * S, usage);
		f.now = f.state.seen;
		twin.in = f.in;
		twin.len = rules_step(&twin.rules, &twin.state, &twin.in, f.now, twin.acts);
		assert_int_equal(f.len, twin.len);
		assert_memory_equal(&f.state, &twin.state, sizeof(f.state));
		watch(&f, &w, usage);
	}
	assert_true(f.state.rule[0].fired > 0);
}

static void test_random_walks(void **unused)
{
	for (uint64_t seed = 1; seed <= 100; seed++)
		walk(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fires_after_for_and_climbs_with_pauses),
		cmocka_unit_test(test_a_dip_below_the_threshold_starts_for_anew),
		cmocka_unit_test(test_between_the_thresholds_the_ladder_goes_on),
		cmocka_unit_test(test_cooldown_after_clearing),
		cmocka_unit_test(test_a_spent_ladder_begins_again_after_the_cooldown),
		cmocka_unit_test(test_another_run_ends_the_ladder_and_keeps_the_cooldown),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_what_nobody_tells_does_not_hold),
		cmocka_unit_test(test_steps_without_pause_come_together),
		cmocka_unit_test(test_time_that_goes_back_is_time_that_stands),
		cmocka_unit_test(test_kinds_of_signals),
		cmocka_unit_test(test_every_signal_has_a_name_that_is_found),
		cmocka_unit_test(test_random_walks),
	};

	return cmocka_run_group_tests_name("rules", tests, NULL, NULL);
}
