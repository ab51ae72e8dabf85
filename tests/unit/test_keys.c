/* sources: cli/keys.c */
#include "tests/unit/unit.h"

#include <string.h>

#include "cli/keys.h"
#include "ipc/base/mem.h"

static void test_words(void **state)
{
	static const char *const bad[] = {"ctrl-", "ctrl-1", "ctrl-pp", "ab", ",", "a,", ",a",
		"a,,b", "Ctrl-p", "a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a"};
	struct keys k;

	assert_int_equal(keys_parse(&k, KEYS_DEFAULT), 0);
	assert_true(k.len == 2 && k.seq[0] == 16 && k.seq[1] == 17);
	assert_int_equal(keys_parse(&k, "ctrl-@,ctrl-[,ctrl-Z,x"), 0);
	assert_true(k.len == 4 && memcmp(k.seq, "\0\033\032x", 4) == 0);
	assert_int_equal(keys_parse(&k, ""), 0);
	assert_int_equal(k.len, 0);
	for (size_t i = 0; i < array_size(bad); i++)
		assert_true(keys_parse(&k, bad[i]) < 0);
}

/* Typed in the pieces that '|' separates: what the service gets, and whether it ended in a detach
 * ('!'). */
static void types(const char *sequence, const char *typed, const char *expected)
{
	char got[256], piece[64];
	struct keys k;
	size_t n = 0;
	bool detach = false;

	assert_int_equal(keys_parse(&k, sequence), 0);
	while (*typed && !detach) {
		size_t len = strcspn(typed, "|");

		memcpy(piece, typed, len);
		n += keys_filter(&k, piece, len, got + n, &detach);
		typed += len + (typed[len] == '|');
	}
	if (detach)
		got[n++] = '!';
	got[n] = '\0';
	assert_string_equal(got, expected);
}

static void test_typing(void **state)
{
	types("a,b", "xyz", "xyz");
	types("a,b", "xab", "x!");
	types("a,b", "xa|b", "x!");
	types("a,b", "aab", "a!");
	types("a,b", "a|a|b|rest", "a!");
	types("a,b", "ac", "ac");
	types("a,b", "a", "");
	types("a,b", "ba|xb", "baxb");
	types("a,a,b", "aaab", "a!");
	types("a,b,a,c", "abab|ac", "ab!");
	types("a,b,a,c", "ababx", "ababx");
	types("a", "ba", "b!");
	types("", "ab\020\021", "ab\020\021");
	types("ctrl-p,ctrl-q", "ls\n\020ls\020\021", "ls\n\020ls!");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_typing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
