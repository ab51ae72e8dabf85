/* sources: monitor/pressure_log.c ipc */
/* The ring of samples: what was written is read, in order, and what is torn or foreign is not. */
#include "monitor/pressure_log.h"

#include <errno.h>
#include <string.h>

#include "ipc/base/clock.h"
#include "ipc/base/file.h"
#include "tests/unit/scratch.h"

#define BOOT  "01234567-89ab-cdef-0123-456789abcdef"
#define OTHER "11234567-89ab-cdef-0123-456789abcdef"
#define HEAD  ((off_t)sizeof(struct pressure_log_head))
#define SLOT  ((off_t)sizeof(struct logged))

static struct pressure_past past;

static void add(struct pressure_log *l, const struct scratch *s, const char *boot, uint64_t msec)
{
	struct logged x = {.boot_usec = msec * USEC_PER_MSEC, .run = 7};

	logged_put(&x, LOGGED_MEMORY, msec);
	assert_int_equal(pressure_log_add(l, s->fd, boot, &x), 0);
}

static int file(const struct scratch *s)
{
	int fd = openat(s->fd, "pressure", O_RDWR);

	assert_true(fd >= 0);
	return fd;
}

static void expect(const struct scratch *s, size_t len, const uint64_t *msecs)
{
	assert_int_equal(pressure_log_read(s->fd, &past), 0);
	assert_int_equal(past.len, len);
	for (size_t i = 0; i < len; i++) {
		assert_int_equal(past.samples[i].boot_usec, msecs[i] * USEC_PER_MSEC);
		assert_int_equal(past.samples[i].value[LOGGED_MEMORY], msecs[i]);
		assert_true(logged_has(&past.samples[i], LOGGED_MEMORY));
		assert_false(logged_has(&past.samples[i], LOGGED_LIMIT));
	}
}

#define expect_all(s, ...) \
	expect((s), sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t), (uint64_t[]){__VA_ARGS__})

static void test_written_and_read(void **state)
{
	struct pressure_log l = {0};

	assert_int_equal(pressure_log_read(((struct scratch *)*state)->fd, &past), -ENOENT);
	add(&l, *state, BOOT, 1000);
	add(&l, *state, BOOT, 2000);
	add(&l, *state, BOOT, 60000);
	expect_all(*state, 1000, 2000, 60000);
	assert_string_equal(past.boot_id, BOOT);
	assert_int_equal(past.samples[0].run, 7);
}

/* The newest is always there; slots are half a second apart. */
static void test_close_ones_share_a_slot(void **state)
{
	struct pressure_log l = {0};

	for (uint64_t at = 1000; at <= 2800; at += 200)
		add(&l, *state, BOOT, at);
	expect_all(*state, 1000, 1600, 2200, 2800);
	add(&l, *state, BOOT, 3000);
	expect_all(*state, 1000, 1600, 2200, 2800, 3000);
	add(&l, *state, BOOT, 9000); /* a pause: the one before it stays */
	expect_all(*state, 1000, 1600, 2200, 2800, 3000, 9000);
}

static void test_a_successor_goes_on(void **state)
{
	struct pressure_log l = {0}, next = {0};

	add(&l, *state, BOOT, 1000);
	add(&l, *state, BOOT, 2000);
	add(&next, *state, BOOT, 2200);
	expect_all(*state, 1000, 2000, 2200);
	assert_int_equal(next.seq, 3);
}

static void test_it_goes_round(void **state)
{
	struct pressure_log l = {0}, next = {0};
	off_t before, after;
	int fd;

	for (unsigned i = 1; i <= LOGGED_MAX; i++)
		add(&l, *state, BOOT, 1000 * i);
	fd = file(*state);
	before = lseek(fd, 0, SEEK_END);
	for (unsigned i = LOGGED_MAX + 1; i <= 2 * LOGGED_MAX + 5; i++)
		add(&l, *state, BOOT, 1000 * i);
	after = lseek(fd, 0, SEEK_END);
	close(fd);
	assert_int_equal(before, after);
	assert_true(after <= 1 << 16);
	add(&next, *state, BOOT, 9999999);
	assert_int_equal(pressure_log_read(((struct scratch *)*state)->fd, &past), 0);
	assert_int_equal(past.len, LOGGED_MAX);
	assert_int_equal(past.samples[0].boot_usec, 1000 * (LOGGED_MAX + 7) * USEC_PER_MSEC);
	assert_int_equal(past.samples[LOGGED_MAX - 1].boot_usec, 9999999 * USEC_PER_MSEC);
}

/* Every byte of a slot is watched over; the others stay. */
static void test_torn(void **state)
{
	struct pressure_log l = {0}, next = {0};
	int fd;

	add(&l, *state, BOOT, 1000);
	add(&l, *state, BOOT, 2000);
	add(&l, *state, BOOT, 3000);
	fd = file(*state);
	for (off_t at = HEAD + 3 * SLOT; at < HEAD + 4 * SLOT; at++) {
		unsigned char byte, wrong;

		assert_int_equal(pread(fd, &byte, 1, at), 1);
		wrong = byte ^ 0x10;
		assert_int_equal(pwrite(fd, &wrong, 1, at), 1);
		expect_all(*state, 1000, 2000);
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	}
	expect_all(*state, 1000, 2000, 3000);
	assert_int_equal(ftruncate(fd, HEAD + 4 * SLOT - 1), 0);
	expect_all(*state, 1000, 2000);
	add(&next, *state, BOOT, 4000); /* takes its place */
	expect_all(*state, 1000, 2000, 4000);
	assert_int_equal(next.seq, 3);
	close(fd);
}

/* A slot that was copied elsewhere is none, nor is one whose time goes back. */
static void test_out_of_place(void **state)
{
	struct pressure_log l = {0};
	struct logged x;
	int fd;

	add(&l, *state, BOOT, 5000);
	add(&l, *state, BOOT, 4000);
	add(&l, *state, BOOT, 6000);
	expect_all(*state, 5000, 6000);
	fd = file(*state);
	assert_int_equal(pread(fd, &x, sizeof(x), HEAD + 3 * SLOT), sizeof(x));
	assert_int_equal(pwrite(fd, &x, sizeof(x), HEAD + 9 * SLOT), sizeof(x));
	expect_all(*state, 5000, 6000);
	close(fd);
}

static void test_of_another_boot(void **state)
{
	struct pressure_log l = {0}, next = {0};

	add(&l, *state, BOOT, 100000);
	add(&next, *state, OTHER, 1000);
	expect_all(*state, 1000);
	assert_string_equal(past.boot_id, OTHER);
}

static void test_foreign_and_short(void **state)
{
	const struct scratch *s = *state;
	static const char *const texts[] = {"", "x", "no ring at all", NULL};
	char large[300];

	memset(large, 'x', sizeof(large));
	for (unsigned i = 0; i < 4; i++) {
		struct pressure_log l = {0};
		const char *text = texts[i] ? texts[i] : large;
		size_t len = texts[i] ? strlen(text) : sizeof(large);

		assert_int_equal(file_replace(s->fd, "pressure", text, len, 0600), 0);
		assert_int_equal(pressure_log_read(s->fd, &past), -EBADMSG);
		assert_int_equal(past.len, 0);
		add(&l, s, BOOT, 1000); /* begun anew */
		expect_all(s, 1000);
	}
}

static void test_of_another_release(void **state)
{
	const struct scratch *s = *state;
	static const size_t fields[] = {offsetof(struct pressure_log_head, magic),
		offsetof(struct pressure_log_head, version),
		offsetof(struct pressure_log_head, slot_size),
		offsetof(struct pressure_log_head, slots)};

	for (unsigned i = 0; i < 4; i++) {
		struct pressure_log l = {0};
		uint32_t other = 99;
		int fd;

		add(&l, s, BOOT, 1000 + i);
		fd = file(s);
		assert_int_equal(
			pwrite(fd, &other, sizeof(other), (off_t)fields[i]), sizeof(other));
		close(fd);
		assert_int_equal(pressure_log_read(s->fd, &past), -EBADMSG);
	}
}

/* A state directory that was taken away does not get a file again, nor does one follow a link. */
static void test_no_file_where_none_belongs(void **state)
{
	const struct scratch *s = *state;
	struct pressure_log l = {0}, fresh = {0};
	struct logged x = {.boot_usec = 1};

	add(&l, s, BOOT, 1000);
	assert_int_equal(unlinkat(s->fd, "pressure", 0), 0);
	assert_int_equal(pressure_log_add(&l, s->fd, BOOT, &x), -ENOENT);
	assert_int_equal(symlinkat("elsewhere", s->fd, "pressure"), 0);
	assert_int_equal(pressure_log_add(&fresh, s->fd, BOOT, &x), -ELOOP);
	assert_int_equal(faccessat(s->fd, "elsewhere", F_OK, 0), -1);
	assert_int_equal(pressure_log_read(s->fd, &past), -ELOOP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_scratch(test_written_and_read),
		in_scratch(test_close_ones_share_a_slot),
		in_scratch(test_a_successor_goes_on),
		in_scratch(test_it_goes_round),
		in_scratch(test_torn),
		in_scratch(test_out_of_place),
		in_scratch(test_of_another_boot),
		in_scratch(test_foreign_and_short),
		in_scratch(test_of_another_release),
		in_scratch(test_no_file_where_none_belongs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
