/* sources: cli/visible.c */
#include "tests/unit/unit.h"

#include <string.h>

#include "cli/visible.h"

static void shows(const char *bytes, const char *expected)
{
	struct visible v = {0};
	char out[256];
	size_t n = 0;

	for (const char *p = bytes; *p; p++)
		n += visible_put(&v, *p, out + n);
	n += visible_flush(&v, out + n);
	out[n] = '\0';
	assert_string_equal(out, expected);
}

static void test_text_stays(void **state)
{
	shows("a\tb\nc\r\nd\n", "a\tb\nc\r\nd\n");
	shows("\xc3\xa9 \xe2\x82\xac \xf0\x9f\x8c\x8a\n",
		"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x8c\x8a\n");
	shows("\xc2\xa0", "\xc2\xa0");
}

static void test_control_characters(void **state)
{
	shows("\x1b[2J\x7f\a", "^[[2J^?^G");
	shows("\xc2\x9b"
	      "2J",
		"\\xc2\\x9b2J");
	shows("\x9b"
	      "2J",
		"\\x9b2J");
}

/* It would let a line overwrite what stands before it. */
static void test_carriage_returns(void **state)
{
	shows("good\rbad\n", "good^Mbad\n");
	shows("\r\r\n", "^M\r\n");
	shows("end\r", "end^M");
	shows("\r\xc3\xa9", "^M\xc3\xa9");
	shows("\r\x1b", "^M^[");
}

/* Overlong, surrogate, cut off, beyond the end: none is a character, so each byte counts alone. */
static void test_strays(void **state)
{
	shows("\xc0\x9b", "\xc0\\x9b");
	shows("\xe0\x80\x9b", "\xe0\\x80\\x9b");
	shows("\xed\xa0\x80", "\xed\xa0\\x80");
	shows("\xf4\x90\x80\x80", "\xf4\\x90\\x80\\x80");
	shows("\xe2\x82"
	      "A",
		"\xe2\\x82"
		"A");
	shows("\xe2\x82", "\xe2\\x82");
	shows("\xf0\x9f\x8c\r\n", "\xf0\\x9f\\x8c\r\n");
	shows("\xe2\xc2\x9b", "\xe2\\xc2\\x9b");
	shows("caf\xe9\n", "caf\xe9\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_stays),
		cmocka_unit_test(test_control_characters),
		cmocka_unit_test(test_carriage_returns),
		cmocka_unit_test(test_strays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
