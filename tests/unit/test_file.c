/* sources: ipc */
#include "tests/unit/scratch.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"
#include "ipc/base/mem.h"

static bool there(const struct scratch *s, const char *path)
{
	struct stat st;

	return fstatat(s->fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void replace_and_read(void **state)
{
	const struct scratch *s = *state;
	auto_free char *text = NULL;
	struct stat st;
	char big[10000];

	memset(big, 'x', sizeof(big));
	assert_int_equal(file_replace(s->fd, "f", big, sizeof(big), 0600), 0);
	assert_int_equal(file_replace(s->fd, "f", "new", 3, 0640), 0);
	assert_int_equal(file_read(s->fd, "f", 100, &text), 3);
	assert_string_equal(text, "new");
	assert_false(there(s, "f.new"));
	assert_int_equal(fstatat(s->fd, "f", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
}

static void read_is_bounded(void **state)
{
	const struct scratch *s = *state;
	char small[8], big[9000];
	auto_free char *text = NULL;

	memset(big, 'y', sizeof(big));
	assert_int_equal(file_replace(s->fd, "f", big, sizeof(big), 0600), 0);
	assert_int_equal(file_read(s->fd, "f", 8999, &text), -EFBIG);
	assert_null(text);
	assert_int_equal(file_read(s->fd, "f", 9000, &text), 9000);
	assert_int_equal(text[9000], '\0');
	assert_int_equal(file_read_buf(s->fd, "f", small, sizeof(small)), 7);
	assert_string_equal(small, "yyyyyyy");
}

static void missing_names_the_file(void **state)
{
	const struct scratch *s = *state;
	auto_free char *text = NULL;
	char buf[8];

	assert_int_equal(file_read(s->fd, "absent", 10, &text), -ENOENT);
	assert_non_null(strstr(fault_text(), "absent"));
	assert_int_equal(file_read_buf(s->fd, "absent", buf, sizeof(buf)), -ENOENT);
	assert_int_equal(file_write(s->fd, "absent", "1"), -ENOENT);
	assert_false(there(s, "absent"));
}

static void write_goes_to_existing_files(void **state)
{
	const struct scratch *s = *state;
	char buf[64];

	assert_int_equal(file_replace(s->fd, "f", "old", 3, 0600), 0);
	assert_int_equal(file_writef(s->fd, "f", "%d-%s", 42, "x"), 0);
	assert_int_equal(file_read_buf(s->fd, "f", buf, sizeof(buf)), 4);
	assert_string_equal(buf, "42-x");
}

static void directories(void **state)
{
	const struct scratch *s = *state;

	assert_int_equal(dir_make(s->fd, "a/b/c", 0700), 0);
	assert_int_equal(dir_make(s->fd, "a/b/c", 0700), 0);
	assert_true(there(s, "a/b/c"));
	assert_int_equal(file_replace(s->fd, "a/b/c/f", "x", 1, 0600), 0);
	assert_int_equal(file_replace(s->fd, "a/g", "x", 1, 0600), 0);
	assert_int_equal(dir_remove(s->fd, "a"), 0);
	assert_false(there(s, "a"));
	assert_int_equal(dir_remove(s->fd, "a"), 0);
}

static void remove_never_follows_a_symlink(void **state)
{
	const struct scratch *s = *state;

	assert_int_equal(dir_make(s->fd, "keep", 0700), 0);
	assert_int_equal(file_replace(s->fd, "keep/f", "x", 1, 0600), 0);
	assert_int_equal(dir_make(s->fd, "gone", 0700), 0);
	assert_int_equal(symlinkat("../keep", s->fd, "gone/link"), 0);
	assert_int_equal(symlinkat("keep", s->fd, "link"), 0);
	assert_int_equal(dir_remove(s->fd, "gone"), 0);
	assert_int_equal(dir_remove(s->fd, "link"), 0);
	assert_false(there(s, "gone"));
	assert_false(there(s, "link"));
	assert_true(there(s, "keep/f"));
}

static void remove_is_bounded_in_depth(void **state)
{
	const struct scratch *s = *state;
	char deep[256] = "d";

	for (int i = 0; i < 50; i++)
		strcat(deep, "/d");
	assert_int_equal(dir_make(s->fd, deep, 0700), 0);
	assert_int_equal(dir_remove(s->fd, "d"), -ELOOP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(replace_and_read, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(read_is_bounded, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(
			missing_names_the_file, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(
			write_goes_to_existing_files, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(directories, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(
			remove_never_follows_a_symlink, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(
			remove_is_bounded_in_depth, scratch_setup, scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
