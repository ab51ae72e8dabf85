/* sources: ipc */
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

#include "ipc/base/fault.h"
#include "ipc/base/mem.h"
#include "ipc/base/parse.h"

struct sample {
	const char *text;
	uint64_t value;
};

typedef int (*parser)(const char *name, const char *text, uint64_t *ret);

static void all_good(parser parse, const struct sample *samples, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t value = 0;

		if (parse("--option", samples[i].text, &value) != 0)
			fail_msg("\"%s\" was refused: %s", samples[i].text, fault_text());
		if (value != samples[i].value)
			fail_msg("\"%s\" gave %llu", samples[i].text, (unsigned long long)value);
	}
}

/* Every refusal names the option, the value and what to write instead. */
static void all_bad(parser parse, const char *const *texts, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t value = 0;

		if (parse("--option", texts[i], &value) != -EINVAL)
			fail_msg("\"%s\" was taken as %llu", texts[i], (unsigned long long)value);
		assert_non_null(strstr(fault_text(), "--option"));
		assert_non_null(strstr(fault_text(), texts[i]));
		assert_null(strstr(fault_text(), "Invalid argument"));
	}
}

static void sizes(void **state)
{
	static const struct sample good[] = {
		{"0", 0},
		{"4096", 4096},
		{"64k", 65536},
		{"64K", 65536},
		{"64KiB", 65536},
		{"512M", 512ULL << 20},
		{"2g", 2ULL << 30},
		{"1.5G", 3ULL << 29},
		{"1t", 1ULL << 40},
		{"9223372036854775807", INT64_MAX},
	};
	static const char *const bad[] = {"", "12Q", "-1", "+1", " 1", "1 ", "1.", ".5", "0x10",
		"1e3", "9223372036854775808", "99999999999999999999999", "8388608t", "1k1", "k"};

	all_good(parse_size, good, array_size(good));
	all_bad(parse_size, bad, array_size(bad));
}

static void durations(void **state)
{
	static const struct sample good[] = {
		{"0", 0},
		{"10", 10000000},
		{"250us", 250},
		{"100ms", 100000},
		{"1.5s", 1500000},
		{"0.000001", 1},
		{"2m", 120000000},
		{"2min", 120000000},
		{"1h", 3600000000ULL},
		{"1d", 86400000000ULL},
	};
	static const char *const bad[] = {
		"", "soon", "-1s", "1y", "367d", "1s1", "1,5s", "10 s", "99999999999h", "ms"};

	all_good(parse_duration, good, array_size(good));
	all_bad(parse_duration, bad, array_size(bad));
}

static void cpus(void **state)
{
	static const struct sample good[] = {{"0.01", 10}, {"0.5", 500}, {"1", 1000}, {"2", 2000},
		{"1.25", 1250}, {"1000", 1000000}};
	static const char *const bad[] = {"", "0", "0.001", "1001", "-1", "two", "1/2", "50%"};

	all_good(parse_cpus, good, array_size(good));
	all_bad(parse_cpus, bad, array_size(bad));
}

static int one_to_ten(const char *name, const char *text, uint64_t *ret)
{
	return parse_u64(name, text, 1, 10, ret);
}

static void numbers(void **state)
{
	static const struct sample good[] = {{"1", 1}, {"10", 10}, {"007", 7}};
	static const char *const bad[] = {
		"", "0", "11", "1.0", "0x1", "1\n", "ten", "18446744073709551617", "-1"};
	uint64_t value;

	all_good(one_to_ten, good, array_size(good));
	all_bad(one_to_ten, bad, array_size(bad));
	assert_int_equal(parse_u64("n", "18446744073709551615", 0, UINT64_MAX, &value), 0);
	assert_true(value == UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes),
		cmocka_unit_test(durations),
		cmocka_unit_test(cpus),
		cmocka_unit_test(numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
