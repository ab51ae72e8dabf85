/* sources: ipc/logread.c cli/follow.c ipc */
#include "tests/unit/unit.h"

#include <string.h>

#include "cli/follow.h"
#include "ipc/logread.h"
#include "tests/unit/scratch.h"

static void append(const struct scratch *s, const char *name, const void *data, size_t len)
{
	int fd = openat(s->fd, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
}

static void overwrite(
	const struct scratch *s, const char *name, off_t at, const void *data, size_t len)
{
	int fd = openat(s->fd, name, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, data, len, at), len);
	close(fd);
}

/* Bytes of a stream from an offset on, in the segment that begins at base, come at a time. */
static void wrote(const struct scratch *s, enum log_stream stream, uint64_t base, uint64_t offset,
	uint64_t when, const char *text)
{
	struct log_index e = {.offset = offset, .boot_usec = when, .real_usec = when, .run = 1};
	char name[LOG_NAME_MAX];

	log_segment_name(name, stream, base, "idx");
	append(s, name, &e, sizeof(e));
	log_segment_name(name, stream, base, "raw");
	append(s, name, text, strlen(text));
}

static void read_all(struct logread *l, char *ret)
{
	static struct logread_piece p;
	size_t at = 0;

	while (logread_next(l, &p) == 1) {
		memcpy(ret + at, p.bytes, p.len);
		at += p.len;
	}
	ret[at] = '\0';
}

static void scene(const struct scratch *s)
{
	wrote(s, LOG_STDOUT, 0, 0, 10, "a1 ");
	wrote(s, LOG_STDERR, 0, 0, 20, "b1 ");
	wrote(s, LOG_STDOUT, 0, 3, 30, "a2 ");
	wrote(s, LOG_STDOUT, 6, 6, 40, "a3 "); /* a new segment */
	wrote(s, LOG_STDERR, 0, 3, 50, "b2 ");
}

static void test_merge(void **state)
{
	const struct scratch *s = *state;
	struct logread l;
	char text[64];

	scene(s);
	logread_init(&l, s->fd);
	read_all(&l, text);
	assert_string_equal(text, "a1 b1 a2 a3 b2 ");
	read_all(&l, text);
	assert_string_equal(text, "");
	wrote(s, LOG_STDOUT, 6, 9, 60, "a4 "); /* what comes later is found */
	read_all(&l, text);
	assert_string_equal(text, "a4 ");
	logread_seek(&l, (const uint64_t[]){3, 0});
	read_all(&l, text);
	assert_string_equal(text, "b1 a2 a3 b2 a4 ");
	logread_finish(&l);
}

static void test_oldest_segment_is_gone(void **state)
{
	const struct scratch *s = *state;
	struct logread l;
	char text[64];

	scene(s);
	assert_int_equal(unlinkat(s->fd, "stdout-00000000000000000000.raw", 0), 0);
	logread_init(&l, s->fd);
	read_all(&l, text);
	assert_string_equal(text, "b1 a3 b2 ");
	logread_finish(&l);
}

/* Who reads on is told what rotation took meanwhile; what was gone before it came it does not miss.
 */
static void test_rotation_overtakes_a_reader(void **state)
{
	static struct logread_piece p;
	const struct scratch *s = *state;
	struct logread l;
	char text[64];

	logread_init(&l, s->fd);
	read_all(&l, text);
	wrote(s, LOG_STDOUT, 5, 5, 10, "a1 ");
	assert_int_equal(logread_next(&l, &p), 1);
	assert_true(p.at == 5 && p.rotated == 5);
	wrote(s, LOG_STDOUT, 8, 8, 20, "a2 ");
	wrote(s, LOG_STDOUT, 11, 11, 30, "a3 ");
	assert_int_equal(unlinkat(s->fd, "stdout-00000000000000000005.raw", 0), 0);
	assert_int_equal(unlinkat(s->fd, "stdout-00000000000000000008.raw", 0), 0);
	assert_int_equal(logread_next(&l, &p), 1);
	assert_true(p.at == 11 && p.rotated == 3 && p.dropped == 0);
	assert_int_equal(logread_next(&l, &p), 0);
	logread_seek(&l, (const uint64_t[]){0, 0});
	assert_int_equal(logread_next(&l, &p), 1);
	assert_true(p.at == 11 && p.rotated == 0);
	logread_finish(&l);
}

static void test_without_index(void **state)
{
	const struct scratch *s = *state;
	struct logread l;
	char text[64];

	append(s, "stdout-00000000000000000000.raw", "bare", 4);
	logread_init(&l, s->fd);
	read_all(&l, text);
	assert_string_equal(text, "bare");
	logread_finish(&l);
}

static void test_gap_is_told(void **state)
{
	static struct logread_piece p;
	const struct scratch *s = *state;
	struct log_index e = {.offset = 2, .boot_usec = 5, .flags = LOG_INDEX_GAP, .dropped = 99};
	struct logread l;

	wrote(s, LOG_STDOUT, 0, 0, 1, "ab");
	append(s, "stdout-00000000000000000000.idx", &e, sizeof(e));
	append(s, "stdout-00000000000000000000.raw", "cd", 2);
	logread_init(&l, s->fd);
	assert_int_equal(logread_next(&l, &p), 1);
	assert_int_equal(p.dropped, 0);
	assert_int_equal(logread_next(&l, &p), 1);
	assert_int_equal(p.dropped, 99);
	logread_finish(&l);
}

/* Dropped at the very end, and more of it while somebody reads; then bytes come again. */
static void test_a_gap_at_the_end_grows(void **state)
{
	static struct logread_piece p;
	const struct scratch *s = *state;
	struct log_index gap = {.offset = 2, .boot_usec = 5, .flags = LOG_INDEX_GAP, .dropped = 9};
	struct log_index more = {.offset = 2, .boot_usec = 7, .run = 1};
	struct logread l;

	wrote(s, LOG_STDOUT, 0, 0, 1, "ab");
	append(s, "stdout-00000000000000000000.idx", &gap, sizeof(gap));
	logread_init(&l, s->fd);
	assert_int_equal(logread_next(&l, &p), 1);
	assert_int_equal(p.len, 2);
	assert_int_equal(logread_next(&l, &p), 1);
	assert_true(p.len == 0 && p.dropped == 9 && p.at == 2);
	assert_int_equal(logread_next(&l, &p), 0);
	gap.dropped = 20;
	overwrite(s, "stdout-00000000000000000000.idx", sizeof(gap), &gap, sizeof(gap));
	assert_int_equal(logread_next(&l, &p), 1);
	assert_true(p.len == 0 && p.dropped == 11);
	append(s, "stdout-00000000000000000000.idx", &more, sizeof(more));
	append(s, "stdout-00000000000000000000.raw", "cd", 2);
	assert_int_equal(logread_next(&l, &p), 1);
	assert_true(p.len == 2 && p.dropped == 0 && p.when.boot_usec == 7);
	assert_int_equal(logread_next(&l, &p), 0);
	logread_finish(&l);
}

static void test_follow(void **state)
{
	const struct scratch *s = *state;
	struct follow f;
	char text[64] = "";
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	follow_init(&f, s->fd, LOG_STDOUT, ends[1]);
	assert_int_equal(follow_pump(&f), FOLLOW_IDLE);
	scene(s);
	assert_int_equal(follow_pump(&f), FOLLOW_IDLE);
	assert_int_equal(read(ends[0], text, sizeof(text)), 9);
	assert_memory_equal(text, "a1 a2 a3 ", 9);
	assert_int_equal(f.at, 9);
	assert_int_equal(f.lost, 0);
	follow_finish(&f);
	close(ends[0]);
	close(ends[1]);
}

/* A pipe that is full: the rest waits, nothing is lost or doubled. */
static void test_follow_full(void **state)
{
	static char data[200000], got[200000];
	const struct scratch *s = *state;
	struct follow f;
	size_t at = 0;
	int ends[2];
	ssize_t n;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)('a' + i % 23);
	append(s, "stdout-00000000000000000000.raw", data, sizeof(data));
	assert_int_equal(pipe(ends), 0);
	follow_init(&f, s->fd, LOG_STDOUT, ends[1]);
	while (at < sizeof(data)) {
		int r = follow_pump(&f);

		assert_true(r == FOLLOW_FULL || f.at == sizeof(data));
		n = read(ends[0], got + at, sizeof(got) - at);
		assert_true(n > 0);
		at += (size_t)n;
	}
	assert_memory_equal(data, got, sizeof(data));
	follow_finish(&f);
	close(ends[0]);
	close(ends[1]);
}

#define T(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_merge),
		T(test_oldest_segment_is_gone),
		T(test_rotation_overtakes_a_reader),
		T(test_without_index),
		T(test_gap_is_told),
		T(test_a_gap_at_the_end_grows),
		T(test_follow),
		T(test_follow_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
