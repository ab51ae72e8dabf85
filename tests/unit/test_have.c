/* sources: ipc */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/base/have.h"
#include "ipc/base/proc.h"

static void unmasked(void **state)
{
	unsetenv("HOLDFAST_KERNEL");
	for (int f = 0; f < HAVE_FEATURES; f++)
		assert_true(have(f));
	setenv("HOLDFAST_KERNEL", "", 1);
	for (int f = 0; f < HAVE_FEATURES; f++)
		assert_true(have(f));
}

static void the_floor_takes_everything_away(void **state)
{
	static const char *const masks[] = {"6.1", "6.0", "5.10", "0.0", "latest", "6", "6.15x"};

	for (size_t i = 0; i < sizeof(masks) / sizeof(masks[0]); i++) {
		setenv("HOLDFAST_KERNEL", masks[i], 1);
		for (int f = 0; f < HAVE_FEATURES; f++)
			if (have(f))
				fail_msg("%s leaves feature %d", masks[i], f);
	}
}

static void versions_are_numbers(void **state)
{
	setenv("HOLDFAST_KERNEL", "6.3", 1);
	assert_true(have(HAVE_TMPFS_IDMAP));
	assert_false(have(HAVE_PIDFD_EXIT));
	setenv("HOLDFAST_KERNEL", "6.14", 1);
	assert_false(have(HAVE_PIDFD_EXIT));
	setenv("HOLDFAST_KERNEL", "6.15", 1);
	assert_true(have(HAVE_PIDFD_EXIT));
	setenv("HOLDFAST_KERNEL", "7.0", 1);
	assert_true(have(HAVE_PIDFD_EXIT));
}

static void every_row_says_since_when(void **state)
{
	for (int f = 0; f < HAVE_FEATURES; f++) {
		setenv("HOLDFAST_KERNEL", have_since(f), 1);
		assert_true(have(f));
	}
}

static void a_masked_kernel_tells_no_status(void **state)
{
	pid_t pid = fork();
	int fd, status;

	if (pid == 0)
		_exit(7);
	fd = pidfd_open_pid(pid);
	assert_true(fd >= 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	setenv("HOLDFAST_KERNEL", "6.1", 1);
	assert_int_equal(pidfd_exit_status(fd, &status), -ENOSYS);
	unsetenv("HOLDFAST_KERNEL");
	if (pidfd_exit_status(fd, &status) == 0) /* the kernel is new enough */
		assert_int_equal(WEXITSTATUS(status), 7);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unmasked),
		cmocka_unit_test(the_floor_takes_everything_away),
		cmocka_unit_test(versions_are_numbers),
		cmocka_unit_test(every_row_says_since_when),
		cmocka_unit_test(a_masked_kernel_tells_no_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
