/* sources: shim/sink.c ipc */
#include "tests/unit/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "ipc/base/fd.h"
#include "shim/sink.h"

static const struct settings usual = {.log_max_bytes = 1 << 20, .log_max_files = 4};

static int64_t write_and_splice(struct sink *s, int pipes[2], const void *data, size_t len)
{
	assert_int_equal(write(pipes[1], data, len), len);
	return sink_splice(s, pipes[0], 1);
}

static void moves_and_resumes(void **state)
{
	const struct scratch *dir = *state;
	struct sink s;
	int pipes[2];
	char buf[32] = "";

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(sink_open(&s, dir->fd, LOG_STDOUT, &usual), 0);
	assert_int_equal(sink_splice(&s, pipes[0], 1), -EAGAIN);
	assert_int_equal(write_and_splice(&s, pipes, "first ", 6), 6);
	sink_close(&s);
	assert_int_equal(sink_open(&s, dir->fd, LOG_STDOUT, &usual), 0);
	assert_int_equal(s.offset, 6);
	assert_int_equal(write_and_splice(&s, pipes, "second", 6), 6);
	close(pipes[1]);
	assert_int_equal(sink_splice(&s, pipes[0], 1), 0);
	assert_int_equal(pread(s.raw, buf, sizeof(buf), 0), 12);
	assert_string_equal(buf, "first second");
	sink_close(&s);
	close(pipes[0]);
}

static void rotates_and_forgets_the_oldest(void **state)
{
	const struct settings small = {.log_max_bytes = 4096, .log_max_files = 3};
	const struct scratch *dir = *state;
	struct log_segments list;
	char block[4096];
	struct sink s;
	int pipes[2];

	memset(block, 'b', sizeof(block));
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(sink_open(&s, dir->fd, LOG_STDERR, &small), 0);
	for (int i = 0; i < 10; i++)
		assert_int_equal(write_and_splice(&s, pipes, block, sizeof(block)), 4096);
	assert_int_equal(log_segments_list(dir->fd, LOG_STDERR, &list), 0);
	assert_int_equal(list.len, 3);
	assert_true(list.base[0] == 7 * 4096);
	assert_true(log_stream_end(dir->fd, LOG_STDERR) == 10 * 4096);
	sink_close(&s);
	close(pipes[0]);
	close(pipes[1]);
}

static void index_tells_runs_and_gaps(void **state)
{
	const struct scratch *dir = *state;
	struct log_index e[3];
	struct sink s;
	int pipes[2];

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(sink_open(&s, dir->fd, LOG_STDOUT, &usual), 0);
	assert_int_equal(write(pipes[1], "one", 3), 3);
	assert_int_equal(sink_splice(&s, pipes[0], 1), 3);
	sink_gap(&s, 70, 1);
	sink_gap(&s, 7, 1); /* one gap, one entry */
	assert_int_equal(write(pipes[1], "two", 3), 3);
	assert_int_equal(sink_splice(&s, pipes[0], 2), 3);
	assert_int_equal(pread(s.idx, e, sizeof(e), 0), sizeof(e));
	assert_true(e[0].offset == 0 && e[0].run == 1 && e[0].flags == LOG_INDEX_RUN);
	assert_true(e[1].offset == 3 && e[1].flags == LOG_INDEX_GAP && e[1].dropped == 77);
	assert_true(e[2].offset == 3 && e[2].run == 2 && e[2].flags == LOG_INDEX_RUN);
	sink_close(&s);
	close(pipes[0]);
	close(pipes[1]);
}

/* A stream without a byte leaves no file behind; what was dropped before there is one stands in
 * front. */
static void the_first_byte_makes_the_files(void **state)
{
	const struct scratch *dir = *state;
	struct log_segments list;
	struct log_index e[2];
	struct sink s, silent;
	int pipes[2], closed[2];

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(pipe2(closed, O_CLOEXEC), 0);
	close(closed[1]);
	assert_int_equal(sink_open(&silent, dir->fd, LOG_STDERR, &usual), 0);
	assert_int_equal(sink_splice(&silent, closed[0], 1), 0);
	assert_int_equal(sink_open(&s, dir->fd, LOG_STDOUT, &usual), 0);
	assert_int_equal(sink_splice(&s, pipes[0], 1), -EAGAIN);
	sink_gap(&s, 5, 1);
	for (int i = 0; i < LOG_STREAMS; i++) {
		assert_int_equal(log_segments_list(dir->fd, (enum log_stream)i, &list), 0);
		assert_int_equal(list.len, 0);
		assert_true(log_stream_end(dir->fd, (enum log_stream)i) == 0);
	}
	assert_int_equal(write_and_splice(&s, pipes, "text", 4), 4);
	assert_int_equal(pread(s.idx, e, sizeof(e), 0), sizeof(e));
	assert_true(e[0].flags == LOG_INDEX_GAP && e[0].offset == 0 && e[0].dropped == 5);
	assert_true(e[1].flags == LOG_INDEX_RUN && e[1].offset == 0);
	sink_close(&s);
	sink_close(&silent);
	close(pipes[0]);
	close(pipes[1]);
	close(closed[0]);
}

/* One incarnation of the pump: splices until it is killed or the pipe has ended. */
static void pump(int dirfd, int pipe, const struct settings *settings)
{
	struct sink s;
	int64_t n;

	if (sink_open(&s, dirfd, LOG_STDOUT, settings) < 0)
		_exit(2);
	while ((n = sink_splice(&s, pipe, 1)) != 0)
		if (n < 0 && n != -EAGAIN)
			_exit(3);
	_exit(0);
}

static pid_t writer(int pipe, uint32_t count)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	for (uint32_t i = 0; i < count; i++)
		if (write(pipe, &i, sizeof(i)) != sizeof(i))
			_exit(1);
	_exit(0);
}

/* However often the pump is killed, and at whatever instant: every number once, in order. */
static void exactly_once_over_kills(void **state)
{
	const struct settings one_file = {.log_max_bytes = 1 << 30, .log_max_files = 4};
	const struct scratch *dir = *state;
	const uint32_t count = 400000;
	uint32_t seed = 12345, kills = 0, number;
	char name[LOG_NAME_MAX];
	int pipes[2], status = -1;
	pid_t from;
	FILE *f;

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	from = writer(pipes[1], count);
	close(pipes[1]);
	while (status != 0) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0)
			pump(dir->fd, pipes[0], &one_file);
		seed = seed * 1664525 + 1013904223;
		usleep(seed >> 16 & 2047);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		kills += WIFSIGNALED(status);
		assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
	}
	assert_int_equal(waitpid(from, &status, 0), from);
	assert_int_equal(status, 0);
	assert_true(kills > 3);
	log_segment_name(name, LOG_STDOUT, 0, "raw");
	f = fdopen(openat(dir->fd, name, O_RDONLY | O_CLOEXEC), "re");
	assert_non_null(f);
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(fread(&number, sizeof(number), 1, f), 1);
		assert_int_equal(number, i);
	}
	assert_int_equal(fgetc(f), EOF);
	fclose(f);
	close(pipes[0]);
}

/* The next segments' names are taken by directories, so they can't be opened: bytes go on into the
 * old one. */
static void a_failed_rotation_overwrites_nothing(void **state)
{
	const struct settings small = {.log_max_bytes = 4096, .log_max_files = 3};
	const struct scratch *dir = *state;
	char block[4096], got[3 * 4096], name[LOG_NAME_MAX];
	struct sink s;
	int pipes[2];

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(sink_open(&s, dir->fd, LOG_STDOUT, &small), 0);
	for (uint64_t base = 4096; base <= 8192; base += 4096) {
		log_segment_name(name, LOG_STDOUT, base, "raw");
		assert_int_equal(mkdirat(dir->fd, name, 0700), 0);
	}
	for (int i = 0; i < 3; i++) {
		memset(block, 'a' + i, sizeof(block));
		assert_int_equal(write_and_splice(&s, pipes, block, sizeof(block)), 4096);
	}
	assert_int_equal(pread(s.raw, got, sizeof(got), 0), sizeof(got));
	assert_true(got[0] == 'a' && got[4096] == 'b' && got[8192] == 'c');
	sink_close(&s);
	close(pipes[0]);
	close(pipes[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_scratch(moves_and_resumes),
		in_scratch(rotates_and_forgets_the_oldest),
		in_scratch(a_failed_rotation_overwrites_nothing),
		in_scratch(index_tells_runs_and_gaps),
		in_scratch(the_first_byte_makes_the_files),
		in_scratch(exactly_once_over_kills),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
