/* sources: cli/graph.c ipc */
/* Samples as columns, columns as characters: exactly. */
#include "cli/graph.h"

#include <string.h>

#include "tests/unit/unit.h"

#define SEC 1000000ull

static struct logged at(uint64_t sec, uint64_t memory, uint64_t stalled)
{
	struct logged s = {.boot_usec = sec * SEC};

	logged_put(&s, LOGGED_MEMORY, memory);
	logged_put(&s, LOGGED_STALLS, stalled);
	return s;
}

static const struct span ten = {100 * SEC, 110 * SEC, 10};

#define kinds(c, text)                                  \
	do {                                            \
		char got_[11] = "";                     \
		for (unsigned k_ = 0; k_ < 10; k_++)    \
			got_[k_] = " ~#"[(c)[k_].kind]; \
		assert_string_equal(got_, (text));      \
	} while (0)

static void expect(const struct column *c, const uint64_t *values)
{
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(c[i].value, values[i]);
}

static void test_nearest_column(void **unused)
{
	assert_int_equal(span_column(&ten, 0), 0);
	assert_int_equal(span_column(&ten, 100 * SEC), 0);
	assert_int_equal(span_column(&ten, 101 * SEC - 1), 0);
	assert_int_equal(span_column(&ten, 101 * SEC), 1);
	assert_int_equal(span_column(&ten, 110 * SEC), 9);
	assert_int_equal(span_column(&ten, 999 * SEC), 9);
}

/* Known where somebody looked, held between two looks that are close, quiet in a gap, and nothing
 * before the first and behind the last. */
static void test_level(void **unused)
{
	const struct logged s[] = {at(101, 5, 0), at(102, 9, 0), at(107, 3, 0), at(108, 4, 0)};
	struct column c[10];

	graph_level(&ten, s, 4, LOGGED_MEMORY, c);
	kinds(c, " ##~~~~## ");
	expect(c, (const uint64_t[]){0, 5, 9, 0, 0, 0, 0, 3, 4, 0});
	assert_int_equal(graph_top(c, 10), 9);
}

/* The highest of a column counts; what is between samples that are narrower than that is held. */
static void test_level_of_many_and_of_few(void **unused)
{
	const struct span wide = {100 * SEC, 200 * SEC, 10}, narrow = {100 * SEC, 102 * SEC, 10};
	const struct logged s[] = {at(100, 2, 0), at(101, 8, 0), at(102, 1, 0)};
	struct column c[10];

	graph_level(&wide, s, 3, LOGGED_MEMORY, c);
	kinds(c, "#         ");
	assert_int_equal(c[0].value, 8);
	graph_level(&narrow, s, 3, LOGGED_MEMORY, c);
	kinds(c, "##########");
	expect(c, (const uint64_t[]){2, 2, 2, 2, 2, 8, 8, 8, 8, 8});
}

static void test_what_a_sample_lacks(void **unused)
{
	struct logged s[] = {at(101, 5, 0), at(102, 5, 0)};
	struct column c[10];

	s[0].has = s[1].has = 0;
	graph_level(&ten, s, 2, LOGGED_MEMORY, c);
	kinds(c, "          ");
	graph_share(&ten, s, 2, LOGGED_STALLS, c);
	kinds(c, "          ");
	graph_level(&ten, s, 0, LOGGED_MEMORY, c);
	kinds(c, "          ");
	assert_int_equal(graph_top(c, 10), 0);
}

/* A quarter of a second in one second is 25 %; a gap has its average; a total that went back is
 * another group's. */
static void test_share(void **unused)
{
	const struct logged s[] = {at(101, 0, 0), at(102, 0, SEC / 4), at(106, 0, SEC / 4 + SEC),
		at(107, 0, 10), at(108, 0, SEC + 10)};
	struct column c[10];

	graph_share(&ten, s, 5, LOGGED_STALLS, c);
	kinds(c, " #~~~~ #  ");
	expect(c, (const uint64_t[]){0, 2500, 2500, 2500, 2500, 2500, 0, 10000, 0, 0});
}

static void test_share_of_a_wide_column(void **unused)
{
	const struct span wide = {100 * SEC, 120 * SEC, 2};
	const struct logged s[] = {
		at(100, 0, 0), at(101, 0, SEC), at(110, 0, SEC), at(112, 0, 3 * SEC)};
	struct column c[2];

	graph_share(&wide, s, 4, LOGGED_STALLS, c);
	assert_int_equal(c[0].value, 1000);  /* one second of ten */
	assert_int_equal(c[1].value, 10000); /* of what is known of it */
	assert_int_equal(c[1].kind, COLUMN_VALUE);
}

/* From before the span, and up to behind it. */
static void test_share_over_the_edges(void **unused)
{
	const struct logged s[] = {at(50, 0, 0), at(150, 0, 50 * SEC)};
	struct column c[10];

	graph_share(&ten, s, 2, LOGGED_STALLS, c);
	kinds(c, "~~~~~~~~~~");
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(c[i].value, 5000);
	graph_level(&ten, s, 2, LOGGED_MEMORY, c);
	kinds(c, "~~~~~~~~~~");
}

static void expect_row(const struct column *c, uint64_t top, unsigned rows, unsigned row, bool utf8,
	const char *text)
{
	char line[64];
	size_t n = graph_row(line, sizeof(line), c, 10, top, rows, row, utf8);

	assert_string_equal(line, text);
	assert_int_equal(n, strlen(text));
}

static const struct column stairs[10] = {{COLUMN_NONE, 0}, {COLUMN_QUIET, 0}, {COLUMN_VALUE, 0},
	{COLUMN_VALUE, 1}, {COLUMN_VALUE, 25}, {COLUMN_VALUE, 50}, {COLUMN_VALUE, 51},
	{COLUMN_VALUE, 75}, {COLUMN_VALUE, 100}, {COLUMN_QUIET, 100}};

static void test_rows(void **unused)
{
	expect_row(stairs, 100, 1, 0, true,
		" \xc2\xb7 \xe2\x96\x81\xe2\x96\x82\xe2\x96\x84\xe2\x96\x84"
		"\xe2\x96\x86\xe2\x96\x88\xe2\x96\x88");
	expect_row(stairs, 100, 1, 0, false, " ~ .:==*@@");
	expect_row(stairs, 100, 2, 0, false, "       =@@");
	expect_row(stairs, 100, 2, 1, false, " ~ .=@@@@@");
	expect_row(stairs, 100, 4, 0, false, "        @@");
	expect_row(stairs, 100, 4, 1, false, "       @@@");
	expect_row(stairs, 100, 4, 2, false, "     @@@@@");
	expect_row(stairs, 100, 4, 3, false, " ~ .@@@@@@");
}

/* No scale draws nothing; more than the scale ends at it. */
static void test_scales(void **unused)
{
	expect_row(stairs, 0, 1, 0, false, " ~       ~");
	expect_row(stairs, 50, 1, 0, false, " ~ .=@@@@@");
	expect_row(stairs, UINT64_MAX, 1, 0, false, " ~ .......");
}

static void test_a_row_fits(void **unused)
{
	char line[8];

	assert_true(graph_row(line, sizeof(line), stairs + 3, 7, 100, 1, 0, true) < sizeof(line));
	assert_string_equal(line, "\xe2\x96\x81\xe2\x96\x82");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nearest_column),
		cmocka_unit_test(test_level),
		cmocka_unit_test(test_level_of_many_and_of_few),
		cmocka_unit_test(test_what_a_sample_lacks),
		cmocka_unit_test(test_share),
		cmocka_unit_test(test_share_of_a_wide_column),
		cmocka_unit_test(test_share_over_the_edges),
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_scales),
		cmocka_unit_test(test_a_row_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
