/* sources: ipc */
#include "tests/unit/scratch.h"

#include <string.h>

#include "ipc/base/file.h"
#include "ipc/logfile.h"

static void touch(const struct scratch *s, const char *name, size_t size)
{
	char bytes[64] = "";

	assert_true(size <= sizeof(bytes));
	assert_int_equal(file_replace(s->fd, name, bytes, size, 0600), 0);
}

static void names(void **state)
{
	char name[LOG_NAME_MAX];

	log_segment_name(name, LOG_STDOUT, 1234, "raw");
	assert_string_equal(name, "stdout-00000000000000001234.raw");
	log_segment_name(name, LOG_STDERR, UINT64_MAX, "idx");
	assert_string_equal(name, "stderr-18446744073709551615.idx");
}

static void nothing_yet(void **state)
{
	const struct scratch *s = *state;
	struct log_segments list;

	assert_int_equal(log_segments_list(s->fd, LOG_STDOUT, &list), 0);
	assert_int_equal(list.len, 0);
	assert_true(log_stream_end(s->fd, LOG_STDOUT) == 0);
}

/* Only the stream's own raw segments count, in ascending order. */
static void lists_and_sorts(void **state)
{
	const struct scratch *s = *state;
	struct log_segments list;

	touch(s, "stdout-00000000000000000100.raw", 7);
	touch(s, "stdout-00000000000000000000.raw", 64);
	touch(s, "stdout-00000000000000000064.raw", 36);
	touch(s, "stdout-00000000000000000200.idx", 8);
	touch(s, "stderr-00000000000000000300.raw", 8);
	touch(s, "stdout-0000000000000000400.raw", 8);
	touch(s, "stdout-0000000000000000040x.raw", 8);
	touch(s, "stdout-00000000000000000400.raw.gz", 8);
	assert_int_equal(log_segments_list(s->fd, LOG_STDOUT, &list), 0);
	assert_int_equal(list.len, 3);
	assert_true(list.base[0] == 0 && list.base[1] == 64 && list.base[2] == 100);
	assert_true(log_stream_end(s->fd, LOG_STDOUT) == 107);
	assert_true(log_stream_end(s->fd, LOG_STDERR) == 308);
}

static void more_than_fit(void **state)
{
	const struct scratch *s = *state;
	struct log_segments list;
	char name[LOG_NAME_MAX];

	for (uint64_t i = 0; i < LOG_SEGMENTS_MAX + 10; i++) {
		log_segment_name(name, LOG_STDOUT, i * 10, "raw");
		touch(s, name, 10);
	}
	assert_int_equal(log_segments_list(s->fd, LOG_STDOUT, &list), 0);
	assert_int_equal(list.len, LOG_SEGMENTS_MAX);
	for (size_t i = 0; i < list.len; i++)
		assert_true(list.base[i] == (i + 10) * 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		in_scratch(nothing_yet),
		in_scratch(lists_and_sorts),
		in_scratch(more_than_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
