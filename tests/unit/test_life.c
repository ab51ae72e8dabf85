/* sources: shim/life.c ipc */
#include "tests/unit/unit.h"

#include <string.h>

#include "shim/life.h"

#define ACTS_ALL (ACT_DOWN * 2 - 1)

/* Walks the table from `from` by every event but those in `without`; marks what can be reached and
 * returns all actions met on the way. */
static uint32_t walk(enum life_phase from, uint32_t without, bool reached[PHASES])
{
	enum life_phase queue[PHASES];
	uint32_t actions = 0;
	int head = 0, tail = 0;

	memset(reached, 0, sizeof(bool) * PHASES);
	reached[from] = true;
	queue[tail++] = from;
	while (head < tail) {
		enum life_phase at = queue[head++];

		for (int e = 0; e < LIFE_EVENTS; e++) {
			struct life_step s = life_step(at, (enum life_event)e);

			if (without & 1u << e)
				continue;
			actions |= s.actions;
			if (!reached[s.next])
				queue[tail++] = s.next;
			reached[s.next] = true;
		}
	}
	return actions;
}

static void every_pair_is_sane(void **state)
{
	for (int p = 0; p < PHASES; p++) {
		for (int e = 0; e < LIFE_EVENTS; e++) {
			struct life_step s = life_step((enum life_phase)p, (enum life_event)e);

			assert_true((unsigned)s.next < PHASES);
			assert_int_equal(s.actions & ~ACTS_ALL, 0);
		}
	}
}

/* What an action does and where the life stands afterwards go together. */
static void actions_fit_the_phase(void **state)
{
	static const struct {
		uint32_t action;
		uint32_t phases; /* in which it may end */
	} fits[] = {
		{ACT_LAUNCH, 1u << PHASE_LAUNCHING},
		{ACT_START, 1u << PHASE_STARTING},
		{ACT_ANNOUNCE, 1u << PHASE_RUNNING},
		{ACT_STOP, 1u << PHASE_STOPPING},
		{ACT_DECIDE, 1u << PHASE_DECIDE},
		{ACT_CLEAN, 1u << PHASE_CLEAN_DOWN | 1u << PHASE_CLEAN_FRESH},
		{ACT_DELAY, 1u << PHASE_FRESH_DELAY},
		{ACT_ABORT, 1u << PHASE_ABORTING},
		{ACT_DOWN, 1u << PHASE_DOWN},
	};

	for (int p = 0; p < PHASES; p++) {
		for (int e = 0; e < LIFE_EVENTS; e++) {
			struct life_step s = life_step((enum life_phase)p, (enum life_event)e);

			for (size_t i = 0; i < sizeof(fits) / sizeof(fits[0]); i++)
				if (s.actions & fits[i].action && !(fits[i].phases & 1u << s.next))
					fail_msg("%s + %s -> %s with action %#x",
						phase_name((enum life_phase)p),
						life_event_name((enum life_event)e),
						phase_name(s.next), fits[i].action);
		}
	}
}

/* Whoever comes into these phases must have ordered the work that leads out of them. */
static void entering_orders_the_work(void **state)
{
	for (int p = 0; p < PHASES; p++) {
		for (int e = 0; e < LIFE_EVENTS; e++) {
			struct life_step s = life_step((enum life_phase)p, (enum life_event)e);

			if (s.next == (enum life_phase)p)
				continue;
			if (s.next == PHASE_LAUNCHING)
				assert_true(s.actions & ACT_LAUNCH);
			if (s.next == PHASE_ABORTING)
				assert_true(s.actions & ACT_ABORT);
			if (s.next == PHASE_DOWN)
				assert_true(s.actions & ACT_DOWN);
			if (s.next == PHASE_FRESH_DELAY)
				assert_true(s.actions & ACT_DELAY);
			if (s.next == PHASE_CLEAN_FRESH)
				assert_true(s.actions & ACT_CLEAN);
			if (s.next == PHASE_CLEAN_DOWN && p != PHASE_CLEAN_FRESH)
				assert_true(s.actions & ACT_CLEAN);
			if (s.next == PHASE_STOPPING)
				assert_true(s.actions & ACT_STOP);
		}
	}
}

static void every_phase_is_reached(void **state)
{
	bool reached[PHASES];

	assert_int_equal(walk(PHASE_NEW, 0, reached), ACTS_ALL);
	for (int p = 0; p < PHASES; p++)
		if (!reached[p])
			fail_msg("%s is never reached", phase_name((enum life_phase)p));
}

/* Without anybody's wish, what the host and PID 1 tell always leads down or around, never nowhere.
 */
static void every_phase_leads_down(void **state)
{
	bool reached[PHASES];

	for (int p = 0; p < PHASES; p++) {
		walk((enum life_phase)p, 0, reached);
		if (!reached[PHASE_DOWN])
			fail_msg("no way down from %s", phase_name((enum life_phase)p));
	}
}

/* Stop is state: after it, no sequence of events launches or starts anything again. PHASE_DECIDE
 * is left out: there the shim asks the policy, which is told that desired is down. */
static void nothing_starts_after_a_stop(void **state)
{
	const uint32_t decided = 1u
				 << LIFE_ON_EXIT_FRESH; /* the policy's word, never after a stop */

	for (int p = 0; p < PHASES; p++) {
		struct life_step s = life_step((enum life_phase)p, LIFE_ON_STOP);
		bool reached[PHASES];
		uint32_t actions;

		if (p == PHASE_DECIDE)
			continue;
		actions = walk(s.next, decided, reached);
		if (actions & (ACT_LAUNCH | ACT_START | ACT_ANNOUNCE | ACT_DELAY))
			fail_msg("%s + stop still leads to actions %#x",
				phase_name((enum life_phase)p), actions);
	}
}

static void down_is_the_end(void **state)
{
	for (int e = 0; e < LIFE_EVENTS; e++) {
		struct life_step s = life_step(PHASE_DOWN, (enum life_event)e);

		assert_int_equal(s.next, PHASE_DOWN);
		assert_int_equal(s.actions, 0);
	}
}

/* The sandbox is never launched twice without having been taken away between. */
static void one_sandbox_at_a_time(void **state)
{
	const uint32_t gone = 1u << LIFE_ON_CLEAN | 1u << LIFE_ON_LAUNCH_FAILED;
	bool reached[PHASES];

	assert_int_equal(walk(PHASE_STARTING, gone, reached) & ACT_LAUNCH, 0);
	assert_int_equal(walk(PHASE_LAUNCHING, gone, reached) & ACT_LAUNCH, 0);
}

static void names_differ(void **state)
{
	for (int a = 0; a < PHASES; a++)
		for (int b = a + 1; b < PHASES; b++)
			assert_string_not_equal(
				phase_name((enum life_phase)a), phase_name((enum life_phase)b));
	for (int a = 0; a < LIFE_EVENTS; a++)
		for (int b = a + 1; b < LIFE_EVENTS; b++)
			assert_string_not_equal(life_event_name((enum life_event)a),
				life_event_name((enum life_event)b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_pair_is_sane),
		cmocka_unit_test(actions_fit_the_phase),
		cmocka_unit_test(entering_orders_the_work),
		cmocka_unit_test(every_phase_is_reached),
		cmocka_unit_test(every_phase_leads_down),
		cmocka_unit_test(nothing_starts_after_a_stop),
		cmocka_unit_test(down_is_the_end),
		cmocka_unit_test(one_sandbox_at_a_time),
		cmocka_unit_test(names_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
