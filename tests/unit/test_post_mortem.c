/* sources: ipc */
#include "tests/unit/scratch.h"

#include <errno.h>
#include <string.h>

#include "ipc/base/fd.h"
#include "ipc/logfile.h"
#include "ipc/post_mortem.h"

static struct post_mortem_full full;
static struct post_mortem_full list[POST_MORTEM_SLOTS];

static int file(const struct scratch *s)
{
	return openat(s->fd, "postmortem", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

static void add(int fd, uint32_t run)
{
	memset(&full, 0, sizeof(full));
	full.head.exit.run = run;
	full.head.has = POST_MORTEM_TAIL;
	full.head.output_len =
		(uint32_t)snprintf(full.output, sizeof(full.output), "word %u\n", run);
	assert_int_equal(post_mortem_write(fd, &full), 0);
}

static void the_newest_are_kept(void **state)
{
	const struct scratch *s = *state;
	auto_fd fd = file(s);

	assert_int_equal(post_mortem_list(s->fd, -1, false, 0, list, POST_MORTEM_SLOTS), 0);
	for (uint32_t run = 1; run <= 40; run++)
		add(fd, run);
	assert_int_equal(post_mortem_list(s->fd, -1, false, 0, list, POST_MORTEM_SLOTS), 16);
	for (uint32_t i = 0; i < 16; i++) {
		char want[16];

		snprintf(want, sizeof(want), "word %u\n", 40 - i);
		assert_int_equal(list[i].head.exit.run, 40 - i);
		assert_int_equal(list[i].head.output_len, strlen(want));
		assert_memory_equal(list[i].output, want, strlen(want));
	}
	assert_int_equal(post_mortem_list(s->fd, -1, false, 30, list, 3), 3);
	assert_int_equal(list[0].head.exit.run, 29);
	assert_int_equal(post_mortem_read(fd, 24, &full), -ENOENT);
	assert_int_equal(post_mortem_read(fd, 25, &full), 0);
}

static void no_file_is_none(void **state)
{
	assert_int_equal(post_mortem_list(((struct scratch *)*state)->fd, -1, false, 0, list,
				 POST_MORTEM_SLOTS),
		0);
}

/* Cut or flipped anywhere: that run is not there, the others are. */
static void damage(void **state)
{
	const struct scratch *s = *state;
	auto_fd fd = file(s);
	size_t len = sizeof(struct post_mortem) + strlen("word 2\n");
	off_t at = 2 * POST_MORTEM_SLOT;

	add(fd, 1);
	add(fd, 2);
	add(fd, 3);
	for (size_t i = 0; i < len; i++) {
		char c, flipped;

		assert_int_equal(pread(fd, &c, 1, at + (off_t)i), 1);
		flipped = (char)(c ^ 0x10);
		assert_int_equal(pwrite(fd, &flipped, 1, at + (off_t)i), 1);
		assert_int_equal(post_mortem_read(fd, 2, &full), -ENOENT);
		assert_int_equal(post_mortem_list(s->fd, -1, false, 0, list, POST_MORTEM_SLOTS), 2);
		assert_int_equal(pwrite(fd, &c, 1, at + (off_t)i), 1);
	}
	assert_int_equal(post_mortem_read(fd, 2, &full), 0);
	assert_int_equal(ftruncate(fd, at + (off_t)len - 1), 0);
	assert_int_equal(post_mortem_list(s->fd, -1, false, 0, list, POST_MORTEM_SLOTS), 1);
}

/* The log lacks the last two bytes: somebody moves them still, or nobody ever will. */
static void output_that_is_on_its_way(void **state)
{
	const struct scratch *s = *state;
	auto_fd fd = file(s);
	auto_fd raw = -1;
	char name[LOG_NAME_MAX];

	log_segment_name(name, LOG_STDOUT, 0, "raw");
	raw = openat(s->fd, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(raw, "word", 4), 4);
	memset(&full, 0, sizeof(full));
	full.head.exit.run = 1;
	full.head.exit.stdout_end = 6;
	assert_int_equal(post_mortem_write(fd, &full), 0);
	assert_int_equal(post_mortem_list(s->fd, s->fd, true, 0, list, POST_MORTEM_SLOTS), 1);
	assert_false(list[0].head.has & POST_MORTEM_TAIL);
	assert_int_equal(post_mortem_list(s->fd, s->fd, false, 0, list, POST_MORTEM_SLOTS), 1);
	assert_true(list[0].head.has & POST_MORTEM_TAIL);
	assert_int_equal(list[0].head.output_len, 4);
	assert_int_equal(write(raw, "s\n", 2), 2);
	assert_int_equal(post_mortem_list(s->fd, s->fd, true, 0, list, POST_MORTEM_SLOTS), 1);
	assert_true(list[0].head.has & POST_MORTEM_TAIL);
	assert_int_equal(list[0].head.output_len, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_scratch(no_file_is_none),
		in_scratch(the_newest_are_kept),
		in_scratch(damage),
		in_scratch(output_that_is_on_its_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
