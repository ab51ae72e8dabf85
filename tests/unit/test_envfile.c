/* sources: cli/envfile.c cli/spec.c cli/devices.c cli/options.c ipc */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/envfile.h"
#include "ipc/base/fault.h"
#include "ipc/base/mem.h"

static void finish(struct spec_list *list)
{
	for (size_t i = 0; i < list->len; i++)
		free(((char **)list->items)[i]);
	free(list->items);
	*list = (struct spec_list){0};
}

static int parse(const char *text, size_t len, struct spec_list *list)
{
	auto_free char *data = malloc(len + 1);

	memcpy(data, text, len);
	data[len] = '\0';
	return envfile_parse("vars", data, len, list);
}

static void test_lines(void **state)
{
	static const char text[] = "\xef\xbb\xbf"
				   "A=1\r\n"
				   "  # indented\n"
				   "\t B=x \t\n"
				   "\n"
				   "C==\n"
				   "OWN\n"
				   "NOT_OURS\n"
				   "D=";
	static const char *const want[] = {"A=1", "B=x \t", "C==", "OWN=yes", "D="};
	struct spec_list list = {0};

	setenv("OWN", "yes", 1);
	unsetenv("NOT_OURS");
	assert_int_equal(parse(text, sizeof(text) - 1, &list), 0);
	assert_int_equal(list.len, array_size(want));
	for (size_t i = 0; i < array_size(want); i++)
		assert_string_equal(((char **)list.items)[i], want[i]);
	finish(&list);
	assert_int_equal(parse("", 0, &list), 0);
	assert_int_equal(list.len, 0);
}

static void test_bad_lines(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		const char *at;
	} bad[] = {
		{"A=1\n=2\n", 7, "vars:2"},
		{"=", 1, "vars:1"},
		{"#\n\nA B=1", 8, "vars:3"},
		{"A\t=1", 4, "vars:1"},
		{"OWN \n", 5, "vars:1"},
		{"A=1\0B=2", 7, "\"vars\""},
	};

	for (size_t i = 0; i < array_size(bad); i++) {
		struct spec_list list = {0};

		assert_int_equal(parse(bad[i].text, bad[i].len, &list), -EINVAL);
		assert_non_null(strstr(fault_text(), bad[i].at));
		assert_non_null(strstr(fault_text(), "--env-file"));
		finish(&list);
	}
}

static void test_pairs(void **state)
{
	char *pair;

	setenv("EMPTY", "", 1);
	assert_int_equal(env_pair("EMPTY", &pair), 0);
	assert_string_equal(pair, "EMPTY=");
	free(pair);
	assert_int_equal(env_pair("X=EMPTY", &pair), 0);
	assert_string_equal(pair, "X=EMPTY");
	free(pair);
	assert_int_equal(env_pair("NOT_OURS", &pair), 0);
	assert_null(pair);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_bad_lines),
		cmocka_unit_test(test_pairs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
