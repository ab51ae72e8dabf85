/* sources: cli/cpulist.c ipc */
#include "tests/unit/unit.h"

#include <errno.h>

#include "cli/cpulist.h"
#include "ipc/base/mem.h"

static void test_lists(void **state)
{
	struct cpulist list;

	assert_int_equal(cpulist_parse("0", &list), 0);
	assert_int_equal(list.bits[0], 1);
	assert_int_equal(cpulist_parse("0-3,7", &list), 0);
	assert_int_equal(list.bits[0], 0x8f);
	assert_int_equal(cpulist_parse("7,0-3,2", &list), 0);
	assert_int_equal(list.bits[0], 0x8f);
	assert_int_equal(cpulist_parse("63-64,8191", &list), 0);
	assert_true(list.bits[0] == 1ULL << 63);
	assert_int_equal(list.bits[1], 1);
	assert_true(list.bits[127] == 1ULL << 63);
	assert_int_equal(cpulist_parse("5-5", &list), 0);
	assert_int_equal(list.bits[0], 1 << 5);
}

static void test_what_is_none(void **state)
{
	static const char *const bad[] = {"", ",", "1,", ",1", "1,,2", "-", "1-", "-1", "2-1",
		"1-2-3", "a", "1 ", " 1", "0x1", "+1", "8192", "0-8192", "99999999999999999999999",
		"1.5", "1\n"};
	struct cpulist list;

	for (size_t i = 0; i < array_size(bad); i++)
		assert_int_equal(cpulist_parse(bad[i], &list), -EINVAL);
}

static void test_missing(void **state)
{
	struct cpulist want, have;

	assert_int_equal(cpulist_parse("0-1,64-127", &have), 0);
	assert_int_equal(cpulist_parse("1,100", &want), 0);
	assert_int_equal(cpulist_missing(&want, &have), -1);
	assert_int_equal(cpulist_parse("1-2,128", &want), 0);
	assert_int_equal(cpulist_missing(&want, &have), 2);
	assert_int_equal(cpulist_parse("128", &want), 0);
	assert_int_equal(cpulist_missing(&want, &have), 128);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_what_is_none),
		cmocka_unit_test(test_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
