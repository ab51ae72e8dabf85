/* sources: cli/when.c ipc */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "cli/when.h"
#include "ipc/base/clock.h"

static void points(void **state)
{
	static const struct {
		const char *text;
		uint64_t usec;
	} table[] = {
		{"@0", 0},
		{"@1700000000", 1700000000000000},
		{"@1700000000.5", 1700000000500000},
		{"@1700000000.1234567", 1700000000123456},
		{"2023-11-14T22:13:20Z", 1700000000000000},
		{"2023-11-14T22:13:20.25Z", 1700000000250000},
		{"2023-11-14 22:13:20z", 1700000000000000},
		{"2023-11-14T23:13:20+01:00", 1700000000000000},
		{"2023-11-14T16:43:20-05:30", 1700000000000000},
		{"2023-11-14T22:13Z", 1699999980000000},
		{"2023-11-14T22:13:20", 1700000000000000 + 3600000000}, /* local: an hour west */
		{"2023-11-14", 1699920000000000 + 3600000000},
	};
	uint64_t usec;

	setenv("TZ", "XXX1", 1);
	tzset();
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_int_equal(when_parse("--since", table[i].text, &usec), 0);
		assert_int_equal(usec, table[i].usec);
	}
}

static void ago(void **state)
{
	uint64_t usec, before = now_real();

	assert_int_equal(when_parse("--since", "10m", &usec), 0);
	assert_true(usec >= before - 600 * USEC_PER_SEC && usec <= now_real() - 600 * USEC_PER_SEC);
	assert_int_equal(when_parse("--since", "100ms", &usec), 0);
	assert_true(usec >= before - USEC_PER_SEC);
}

static void refused(void **state)
{
	static const char *const table[] = {"", "10", "soon", "@", "@x", "@-1", "@1.", "@1x",
		"@999999999999", "2026-01-32", "2026-13-01", "2026-01-01T25:00",
		"2026-01-01T10:00:00X", "2026-01-01T10:00:00+1", "2026-01-01T10:00:00+25:00",
		"2026-", "-5m", "5mm", "1969-01-01T00:00:00Z"};
	uint64_t usec;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		assert_int_equal(when_parse("--since", table[i], &usec), -EINVAL);
}

static void text(void **state)
{
	char shown[WHEN_TEXT];

	when_text(shown, 1700000000250000);
	assert_string_equal(shown, "2023-11-14T22:13:20.250000Z");
	when_text(shown, UINT64_MAX); /* of a damaged record */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(points),
		cmocka_unit_test(ago),
		cmocka_unit_test(refused),
		cmocka_unit_test(text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
