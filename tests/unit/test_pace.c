/* sources: shim/pace.c */
#include "tests/unit/scratch.h"

#include "ipc/base/clock.h"
#include "shim/pace.h"

#define PIPE (1 << 20)

/* So many turns of n bytes, so far apart; what the last one says. */
static int turns(struct pace *p, unsigned count, int64_t n, int pipe, uint64_t apart)
{
	static uint64_t now = USEC_PER_SEC;
	int msec = -1;

	for (unsigned i = 0; i < count; i++)
		msec = pace_msec(p, n, pipe, now += apart);
	return msec;
}

static void lines_in_quick_succession(void **state)
{
	struct pace p = {0};

	assert_int_equal(turns(&p, 32, 80, PIPE, 10), 0); /* a burst is moved as it comes */
	assert_int_equal(turns(&p, 2, 80, PIPE, 10), 5);
	assert_int_equal(turns(&p, 100, 6000, PIPE, 5 * USEC_PER_MSEC), 5); /* and goes on so */
	assert_int_equal(turns(&p, 1, 80, PIPE, 11 * USEC_PER_MSEC), 0); /* after a pause at once */
	assert_int_equal(turns(&p, 1, 80, PIPE, 10), 0);
}

static void a_few_lines_a_second(void **state)
{
	struct pace p = {0};

	assert_int_equal(turns(&p, 1000, 80, PIPE, 10 * USEC_PER_MSEC), 0);
}

static void full_flow(void **state)
{
	struct pace p = {0};

	assert_int_equal(turns(&p, 1, 32 << 10, PIPE, 10), 1);
	assert_int_equal(turns(&p, 1, (512 << 10) - 1, PIPE, 10), 1);
	assert_int_equal(turns(&p, 1, 512 << 10, PIPE, 10), 0); /* the writer is about to wait */
}

static void full_flow_is_no_trickle(void **state)
{
	struct pace p = {0};

	turns(&p, 100, 4096, PIPE, 10);
	assert_int_equal(turns(&p, 1, PIPE, PIPE, 10), 0);
	assert_int_equal(turns(&p, 1, 4096, PIPE, 10), 0); /* the next 5 ms would fill it again */
}

static void a_small_pipe_is_never_let_fill(void **state)
{
	struct pace p = {0};

	assert_int_equal(turns(&p, 100, 511, 4096, 10), 5);
	assert_int_equal(turns(&p, 100, 512, 4096, 10), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_in_quick_succession),
		cmocka_unit_test(a_few_lines_a_second),
		cmocka_unit_test(full_flow),
		cmocka_unit_test(full_flow_is_no_trickle),
		cmocka_unit_test(a_small_pipe_is_never_let_fill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
