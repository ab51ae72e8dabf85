/* sources: ipc */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "ipc/base/fd.h"

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static int null_fd(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void closes_itself(void **state)
{
	int seen;

	{
		auto_fd fd = null_fd();

		seen = fd;
		assert_true(is_open(seen));
	}
	assert_false(is_open(seen));
}

static void close_keeps_errno(void **state)
{
	int fd = null_fd(), none = -1;

	errno = EXDEV;
	fd_close(&fd);
	fd_close(&none);
	assert_int_equal(errno, EXDEV);
	assert_int_equal(fd, -1);
	assert_int_equal(none, -1);
}

static void take_moves_ownership(void **state)
{
	auto_fd first = null_fd();
	int seen = first;
	auto_fd second = fd_take(&first);

	assert_int_equal(first, -1);
	assert_int_equal(second, seen);
	assert_true(is_open(seen));
}

static void cloexec(void **state)
{
	auto_fd fd = null_fd();

	assert_int_equal(fd_cloexec(fd, 0), 0);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
	assert_int_equal(fd_cloexec_all(fd), 0);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(fd_cloexec(-1, 1), -EBADF);
}

static void place(void **state)
{
	auto_fd fd = null_fd();
	auto_fd there = 77;

	assert_int_equal(fd_place(fd, there), 0);
	assert_int_equal(fcntl(there, F_GETFD), 0);
	assert_int_equal(fd_place(fd, fd), 0);
	assert_int_equal(fcntl(fd, F_GETFD), 0);
	assert_int_equal(fd_place(-1, 78), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(closes_itself),
		cmocka_unit_test(close_keeps_errno),
		cmocka_unit_test(take_moves_ownership),
		cmocka_unit_test(cloexec),
		cmocka_unit_test(place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
