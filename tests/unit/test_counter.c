/* sources: init/counter.c */
/* The one number that PID 1 reads out of the counter files. */
#include "init/counter.h"

#include <string.h>

#include "tests/unit/unit.h"

static uint64_t kills(const char *text)
{
	return counter_value(text, strlen(text), "oom_kill ");
}

static void test_both_formats(void **unused)
{
	assert_int_equal(kills("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), 3);
	assert_int_equal(
		kills("low 0\nhigh 0\nmax 812\noom 9\noom_kill 12\noom_group_kill 7\n"), 12);
	assert_int_equal(kills("oom_kill 18446744073709551615\n"), UINT64_MAX);
}

static void test_no_such_line(void **unused)
{
	assert_int_equal(kills(""), 0);
	assert_int_equal(kills("oom_kill_disable 5\n"), 0);
	assert_int_equal(kills("oom_group_kill 5\nxoom_kill 4\n"), 0);
	assert_int_equal(kills("oom_kill\noom_kill \n"), 0);
	assert_int_equal(kills("oom_kill x\n"), 0);
}

static void test_cut_off_number_is_not_read(void **unused)
{
	assert_int_equal(kills("oom 1\noom_kill 12"), 0);
	assert_int_equal(kills("oom 1\noom_ki"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_formats),
		cmocka_unit_test(test_no_such_line),
		cmocka_unit_test(test_cut_off_number_is_not_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
