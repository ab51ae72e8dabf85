/* sources: ipc/policy.c */
/* The restart policy by its promises: what restarts, when, where, and when it ends. */
#include "ipc/policy.h"

#include <string.h>

#include "tests/unit/unit.h"

#define MS 1000ULL
#define S  1000000ULL

struct fix {
	struct policy_conf conf;
	struct policy_state state;
	struct policy_exit e;
};

static struct fix fix_new(enum restart_kind kind)
{
	struct fix f = {0};

	policy_defaults(&f.conf);
	policy_init(&f.state, 42);
	f.conf.kind = kind;
	f.conf.jitter_pct = 0;
	f.conf.mode = RESTART_IN_PLACE;
	f.e.now_usec = 1000 * S;
	return f;
}

static struct policy_verdict decide(struct fix *f)
{
	return policy_decide(&f->conf, &f->state, &f->e);
}

static void assert_down(struct fix *f, enum policy_reason why)
{
	struct policy_verdict v = decide(f);

	assert_int_equal(v.action, POLICY_STAY_DOWN);
	assert_int_equal(v.reason, why);
	assert_int_equal(v.delay_usec, 0);
}

static void test_every_kind_with_every_code_and_signal(void **unused)
{
	for (int kind = RESTART_NO; kind <= RESTART_UNLESS_STOPPED; kind++) {
		for (uint32_t n = 0; n < 256 + 64; n++) {
			struct fix f = fix_new((enum restart_kind)kind);
			bool success = n == 0 || n == 7 || n == 255 || n == 255 + 15;
			bool again = kind == RESTART_ALWAYS || kind == RESTART_UNLESS_STOPPED ||
				     (kind == RESTART_ON_FAILURE && !success);

			f.conf.success_codes[0] |= 1 << 7;
			f.conf.success_codes[31] |= 1 << 7;
			f.conf.success_signals = 1ULL << (15 - 1);
			f.e.code = n < 256 ? n : 0;
			f.e.signal = n < 256 ? 0 : n - 255;
			assert_int_equal(policy_success(&f.conf, &f.e), success);
			assert_int_equal(
				decide(&f).action, again ? POLICY_IN_PLACE : POLICY_STAY_DOWN);
		}
	}
}

static void test_success_beyond_the_tables(void **unused)
{
	struct fix f = fix_new(RESTART_ON_FAILURE);

	memset(f.conf.success_codes, 0xff, sizeof(f.conf.success_codes));
	f.conf.success_signals = UINT64_MAX;
	f.e.code = 256;
	assert_false(policy_success(&f.conf, &f.e));
	f.e.signal = 65;
	assert_false(policy_success(&f.conf, &f.e));
	f.e.signal = 64;
	assert_true(policy_success(&f.conf, &f.e));
}

static void test_zero_is_success_without_a_list(void **unused)
{
	struct fix f = fix_new(RESTART_ON_FAILURE);

	memset(f.conf.success_codes, 0, sizeof(f.conf.success_codes));
	assert_true(policy_success(&f.conf, &f.e));
	assert_down(&f, POLICY_WHY_KIND);
}

static void test_first_at_once_then_doubling_to_the_cap(void **unused)
{
	static const uint64_t want[] = {0, 100 * MS, 200 * MS, 400 * MS, 800 * MS, 1600 * MS,
		3200 * MS, 6400 * MS, 12800 * MS, 25600 * MS, 51200 * MS, 60 * S, 60 * S, 60 * S};
	struct fix f = fix_new(RESTART_ALWAYS);

	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		assert_int_equal(decide(&f).delay_usec, want[i]);
	assert_int_equal(f.state.restarts, sizeof(want) / sizeof(want[0]));
}

static void test_healthy_run_starts_the_delay_over(void **unused)
{
	struct fix f = fix_new(RESTART_ALWAYS);

	for (int i = 0; i < 5; i++)
		decide(&f);
	f.e.healthy = true;
	assert_int_equal(decide(&f).delay_usec, 0);
	f.e.healthy = false;
	assert_int_equal(decide(&f).delay_usec, 100 * MS);
	assert_int_equal(f.state.restarts, 7);
}

static void test_factor_is_kept_in_its_range(void **unused)
{
	struct fix f = fix_new(RESTART_ALWAYS);

	f.conf.factor_pct = 0; /* as 100: constant */
	decide(&f);
	for (int i = 0; i < 50; i++)
		assert_int_equal(decide(&f).delay_usec, 100 * MS);
	f = fix_new(RESTART_ALWAYS);
	f.conf.factor_pct = UINT32_MAX; /* as 1000 */
	decide(&f);
	assert_int_equal(decide(&f).delay_usec, 100 * MS);
	assert_int_equal(decide(&f).delay_usec, S);
	assert_int_equal(decide(&f).delay_usec, 10 * S);
	assert_int_equal(decide(&f).delay_usec, 60 * S);
}

static void test_delays_that_hardly_grow(void **unused)
{
	struct fix f = fix_new(RESTART_ALWAYS);

	f.conf.delay_usec = 1;
	f.conf.factor_pct = 101; /* 1.01 usec is 1 usec: it never grows, and never hangs */
	f.state.streak = UINT32_MAX;
	assert_int_equal(decide(&f).delay_usec, 1);
	assert_int_equal(f.state.streak, UINT32_MAX);
	f.conf.delay_usec = 0;
	assert_int_equal(decide(&f).delay_usec, 0);
}

static void test_huge_delays_do_not_wrap(void **unused)
{
	struct fix f = fix_new(RESTART_ALWAYS);
	uint64_t before = 0;

	f.conf.delay_usec = UINT64_MAX / 3;
	f.conf.max_delay_usec = UINT64_MAX;
	f.conf.factor_pct = 1000;
	for (int i = 0; i < 200; i++) {
		uint64_t d = decide(&f).delay_usec;

		assert_true(d >= before);
		before = d;
	}
	assert_int_equal(before, UINT64_MAX);
	f.conf.jitter_pct = 50;
	for (int i = 0; i < 200; i++)
		assert_true(decide(&f).delay_usec >= UINT64_MAX / 2);
}

static void test_cap_below_the_delay(void **unused)
{
	struct fix f = fix_new(RESTART_ALWAYS);

	f.conf.max_delay_usec = 30 * MS;
	decide(&f);
	assert_int_equal(decide(&f).delay_usec, 30 * MS);
	f.conf.max_delay_usec = 0;
	assert_int_equal(decide(&f).delay_usec, 0);
}

static void test_jitter_stays_in_bounds_and_spreads(void **unused)
{
	static const uint32_t shares[] = {0, 1, 10, 50, 51, UINT32_MAX};

	for (size_t s = 0; s < sizeof(shares) / sizeof(shares[0]); s++) {
		struct fix f = fix_new(RESTART_ALWAYS);
		uint64_t pct = shares[s] < 50 ? shares[s] : 50, reach = 100 * MS * pct / 100;
		uint64_t low = UINT64_MAX, high = 0;

		f.conf.jitter_pct = shares[s];
		f.conf.factor_pct = 100;
		decide(&f);
		for (int i = 0; i < 5000; i++) {
			uint64_t d = decide(&f).delay_usec;

			low = d < low ? d : low;
			high = d > high ? d : high;
		}
		assert_in_range(low, 100 * MS - reach, 100 * MS - reach + reach / 50);
		assert_in_range(high, 100 * MS + reach - reach / 50, 100 * MS + reach);
	}
}

static void test_first_restart_is_at_once_with_jitter_too(void **unused)
{
	struct fix f = fix_new(RESTART_ALWAYS);

	f.conf.jitter_pct = 50;
	assert_int_equal(decide(&f).delay_usec, 0);
}

static void test_budget_edges(void **unused)
{
	struct fix f = fix_new(RESTART_ALWAYS);

	f.conf.budget_n = 3;
	f.conf.budget_window_usec = 60 * S;
	for (int i = 0; i < 3; i++, f.e.now_usec += S)
		assert_int_equal(decide(&f).action, POLICY_IN_PLACE);
	assert_false(f.state.exhausted);
	assert_down(&f, POLICY_WHY_BUDGET);
	assert_true(f.state.exhausted);
	/* The first of the three leaves the window exactly 60 s after it. */
	f.e.now_usec = 1000 * S + 60 * S - 1;
	assert_down(&f, POLICY_WHY_BUDGET);
	f.e.now_usec++;
	assert_int_equal(decide(&f).action, POLICY_IN_PLACE);
	assert_false(f.state.exhausted);
	assert_down(&f, POLICY_WHY_BUDGET);
}

static void test_budget_counts_healthy_runs_too(void **unused)
{
	struct fix f = fix_new(RESTART_ALWAYS);

	f.conf.budget_n = 1;
	f.conf.budget_window_usec = 60 * S;
	f.e.healthy = true;
	assert_int_equal(decide(&f).action, POLICY_IN_PLACE);
	assert_down(&f, POLICY_WHY_BUDGET);
}

static void test_largest_budget_and_beyond(void **unused)
{
	for (uint32_t n = POLICY_BUDGET_MAX; n <= POLICY_BUDGET_MAX + 1; n++) {
		struct fix f = fix_new(RESTART_ALWAYS);

		f.conf.budget_n = n;
		f.conf.budget_window_usec = UINT64_MAX;
		for (int i = 0; i < POLICY_BUDGET_MAX; i++)
			assert_int_equal(decide(&f).action, POLICY_IN_PLACE);
		assert_down(&f, POLICY_WHY_BUDGET);
	}
}

static void test_sliding_window_over_many_wraps(void **unused)
{
	struct fix f = fix_new(RESTART_ALWAYS);
	int refused = 0;

	f.conf.budget_n = 10;
	f.conf.budget_window_usec = 10 * S;
	for (int i = 0; i < 10000; i++, f.e.now_usec += S)
		refused += decide(&f).action == POLICY_STAY_DOWN;
	assert_int_equal(refused, 0); /* 10 in 10 s, sharp */
	f.e.now_usec -= S;
	refused += decide(&f).action == POLICY_STAY_DOWN;
	assert_int_equal(refused, 1);
}

static void test_slow_goes_on_with_the_longest_delay(void **unused)
{
	struct fix f = fix_new(RESTART_ALWAYS);
	struct policy_verdict v;

	f.conf.budget_n = 1;
	f.conf.budget_window_usec = 3600 * S;
	f.conf.on_budget = BUDGET_SLOW;
	assert_int_equal(decide(&f).delay_usec, 0);
	for (int i = 0; i < 20; i++) {
		v = decide(&f);
		assert_int_equal(v.action, POLICY_IN_PLACE);
		assert_int_equal(v.reason, POLICY_WHY_BUDGET);
		assert_int_equal(v.delay_usec, 60 * S);
	}
}

static void test_times_of_another_boot_do_not_count(void **unused)
{
	struct fix f = fix_new(RESTART_ALWAYS);

	f.conf.budget_n = 1;
	f.conf.budget_window_usec = UINT64_MAX;
	decide(&f);
	f.e.now_usec = 5 * S; /* the monotonic clock began again */
	assert_int_equal(decide(&f).action, POLICY_IN_PLACE);
}

static void test_damaged_state_stays_in_its_arrays(void **unused)
{
	struct fix f = fix_new(RESTART_ALWAYS);

	memset(&f.state, 0xff, sizeof(f.state));
	f.state.down = 0;
	f.conf.budget_n = UINT32_MAX;
	f.conf.jitter_pct = 10;
	for (int i = 0; i < 600; i++)
		decide(&f);
	memset(&f.state, 0, sizeof(f.state)); /* rng 0 would stay 0 */
	for (int i = 0; i < 10; i++)
		decide(&f);
	assert_int_not_equal(f.state.rng, 0);
}

static void test_stop_is_state(void **unused)
{
	for (int kind = RESTART_NO; kind <= RESTART_UNLESS_STOPPED; kind++) {
		struct fix f = fix_new((enum restart_kind)kind);

		f.state.down = 1;
		f.e.signal = 11;
		assert_down(&f, POLICY_WHY_STOPPED);
		assert_int_equal(f.state.restarts, 0);
		f.e.rebooted = true;
		if (kind == RESTART_ALWAYS) {
			assert_int_equal(decide(&f).action, POLICY_IN_PLACE);
			assert_int_equal(f.state.down, 0);
		} else {
			assert_down(&f, POLICY_WHY_STOPPED);
		}
	}
}

static void test_oom_policies(void **unused)
{
	for (int oom = OOM_CONTINUE; oom <= OOM_RESTART; oom++) {
		struct fix f = fix_new(RESTART_ALWAYS);

		f.conf.oom = (uint32_t)oom;
		f.e.oom = true;
		f.e.signal = 9;
		if (oom == OOM_STOP)
			assert_down(&f, POLICY_WHY_OOM_STOP);
		else
			assert_int_equal(decide(&f).action, POLICY_IN_PLACE);
		f.conf.kind = RESTART_NO;
		assert_int_equal(decide(&f).action, POLICY_STAY_DOWN);
	}
}

static void test_auto_goes_fresh_after_unhealthy_runs_in_place(void **unused)
{
	struct fix f = fix_new(RESTART_ALWAYS);

	f.conf.mode = RESTART_AUTO;
	for (int round = 0; round < 3; round++) {
		struct policy_verdict v;

		for (int i = 0; i < 3; i++)
			assert_int_equal(decide(&f).action, POLICY_IN_PLACE);
		v = decide(&f);
		assert_int_equal(v.action, POLICY_START_FRESH);
		assert_int_equal(v.reason, POLICY_WHY_UNHEALTHY);
	}
	f.e.healthy = true;
	for (int i = 0; i < 20; i++)
		assert_int_equal(decide(&f).action, POLICY_IN_PLACE);
}

static void test_going_fresh_early_counts_over(void **unused)
{
	struct fix f = fix_new(RESTART_ALWAYS);

	f.conf.mode = RESTART_AUTO;
	decide(&f);
	decide(&f);
	policy_went_fresh(&f.state);
	for (int i = 0; i < 3; i++)
		assert_int_equal(decide(&f).action, POLICY_IN_PLACE);
	assert_int_equal(decide(&f).action, POLICY_START_FRESH);
}

static void test_fixed_modes(void **unused)
{
	struct fix f = fix_new(RESTART_ALWAYS);

	for (int i = 0; i < 10; i++)
		assert_int_equal(decide(&f).action, POLICY_IN_PLACE);
	f.conf.mode = RESTART_FRESH;
	for (int i = 0; i < 10; i++) {
		struct policy_verdict v = decide(&f);

		assert_int_equal(v.action, POLICY_START_FRESH);
		assert_int_equal(v.reason, POLICY_WHY_RESTART);
	}
}

static void test_same_seed_same_delays(void **unused)
{
	struct fix a = fix_new(RESTART_ALWAYS), b = fix_new(RESTART_ALWAYS);

	a.conf.jitter_pct = b.conf.jitter_pct = 10;
	for (int i = 0; i < 50; i++)
		assert_int_equal(decide(&a).delay_usec, decide(&b).delay_usec);
	policy_init(&a.state, 0);
	assert_int_not_equal(a.state.rng, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_kind_with_every_code_and_signal),
		cmocka_unit_test(test_success_beyond_the_tables),
		cmocka_unit_test(test_zero_is_success_without_a_list),
		cmocka_unit_test(test_first_at_once_then_doubling_to_the_cap),
		cmocka_unit_test(test_healthy_run_starts_the_delay_over),
		cmocka_unit_test(test_factor_is_kept_in_its_range),
		cmocka_unit_test(test_delays_that_hardly_grow),
		cmocka_unit_test(test_huge_delays_do_not_wrap),
		cmocka_unit_test(test_cap_below_the_delay),
		cmocka_unit_test(test_jitter_stays_in_bounds_and_spreads),
		cmocka_unit_test(test_first_restart_is_at_once_with_jitter_too),
		cmocka_unit_test(test_budget_edges),
		cmocka_unit_test(test_budget_counts_healthy_runs_too),
		cmocka_unit_test(test_largest_budget_and_beyond),
		cmocka_unit_test(test_sliding_window_over_many_wraps),
		cmocka_unit_test(test_slow_goes_on_with_the_longest_delay),
		cmocka_unit_test(test_times_of_another_boot_do_not_count),
		cmocka_unit_test(test_damaged_state_stays_in_its_arrays),
		cmocka_unit_test(test_stop_is_state),
		cmocka_unit_test(test_oom_policies),
		cmocka_unit_test(test_auto_goes_fresh_after_unhealthy_runs_in_place),
		cmocka_unit_test(test_going_fresh_early_counts_over),
		cmocka_unit_test(test_fixed_modes),
		cmocka_unit_test(test_same_seed_same_delays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
