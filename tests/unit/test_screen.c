/* sources: cli/screen.c ipc */
/* Pictures for a terminal: cut to its size, whatever is in them. */
#include "cli/screen.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

static void expect(struct picture *p, const char *bytes)
{
	assert_int_equal(p->len, strlen(bytes));
	assert_memory_equal(p->bytes, bytes, p->len);
	p->len = 0;
	p->row = 0;
}

static void test_lines_are_cut(void **unused)
{
	struct picture p = {.rows = 2, .columns = 4};

	picture_line(&p, NULL, "abcdef");
	picture_line(&p, NULL, "xy");
	picture_line(&p, NULL, "no row is left for it");
	expect(&p, "abcd\033[K\r\nxy\033[K");
	picture_line(&p, "31m", "abcdef");
	expect(&p, "\033[31mabcd\033[0m\033[K");
	picture_finish(&p);
	assert_null(p.bytes);
}

static void test_characters_are_not(void **unused)
{
	struct picture p = {.rows = 2, .columns = 3};

	picture_line(&p, NULL, "\xe2\x96\x81\xe2\x96\x88\xe2\x96\x84\xe2\x96\x84");
	expect(&p, "\xe2\x96\x81\xe2\x96\x88\xe2\x96\x84\033[K");
	p.columns = 0;
	picture_line(&p, NULL, "abc");
	expect(&p, "\033[K");
	picture_finish(&p);
}

static void test_it_grows(void **unused)
{
	struct picture p = {.rows = 1000, .columns = 1000};
	char text[501];

	memset(text, 'x', 500);
	text[500] = '\0';
	for (int i = 0; i < 100; i++)
		picture_line(&p, NULL, text);
	assert_int_equal(p.len, 100 * 503 + 99 * 2);
	picture_finish(&p);
}

static void test_locale(void **unused)
{
	unsetenv("LC_ALL");
	unsetenv("LC_CTYPE");
	unsetenv("LANG");
	assert_false(screen_utf8());
	setenv("LANG", "de_DE.utf8", 1);
	assert_true(screen_utf8());
	setenv("LC_ALL", "C", 1);
	assert_false(screen_utf8());
	setenv("LC_ALL", "C.UTF-8", 1);
	assert_true(screen_utf8());
	setenv("NO_COLOR", "1", 1);
	assert_false(screen_colour());
	setenv("NO_COLOR", "", 1);
	assert_true(screen_colour());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines_are_cut),
		cmocka_unit_test(test_characters_are_not),
		cmocka_unit_test(test_it_grows),
		cmocka_unit_test(test_locale),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
