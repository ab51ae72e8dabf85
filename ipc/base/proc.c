#include "ipc/base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/file.h"
#include "ipc/base/have.h"

int pidfd_open_pid(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -errno : fd;
}

int pidfd_kill(int pidfd, int signo)
{
	return syscall(SYS_pidfd_send_signal, pidfd, signo, NULL, 0) < 0 ? -errno : 0;
}

bool pidfd_dead(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

/* struct pidfd_info and its ioctl as in linux/pidfd.h of 6.15; the headers here may be older. */
struct exit_info_of {
	uint64_t mask, cgroupid;
	uint32_t ids[11];
	int32_t exit_code;
};
#define GET_INFO  _IOWR(0xff, 11, struct exit_info_of)
#define INFO_EXIT (1ULL << 3)

/* -EAGAIN: not reaped yet. */
static int reaped_status(int pidfd, int *ret)
{
	struct exit_info_of info = {.mask = INFO_EXIT};

	if (!have(HAVE_PIDFD_EXIT))
		return -ENOSYS;
	if (ioctl(pidfd, GET_INFO, &info) < 0)
		return -errno;
	if (!(info.mask & INFO_EXIT))
		return -EAGAIN;
	*ret = info.exit_code;
	return 0;
}

/* What a parent could have stands in field 52 of a zombie's stat; who has no right to look at it
 * finds a 0 there. The right to its user namespace's name is the same one (proc(5)). */
static int zombie_status(int pidfd, int *ret)
{
	char path[48], text[1024];
	const char *p;
	pid_t pid = pidfd_pid(pidfd);

	if (pid <= 0)
		return -ESRCH;
	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	if (readlink(path, text, sizeof(text)) < 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (file_read_buf(AT_FDCWD, path, text, sizeof(text)) < 0)
		return -ESRCH;
	p = strrchr(text, ')');
	if (!p || p[1] != ' ' || p[2] != 'Z')
		return -ESRCH;
	for (int field = 2; p && field < 52; field++)
		p = strchr(p + 1, ' ');
	/* still the one that is meant: a number is not used again before its process is reaped */
	if (!p || pidfd_pid(pidfd) != pid)
		return -ESRCH;
	*ret = (int)strtol(p + 1, NULL, 10);
	return 0;
}

int pidfd_exit_status(int pidfd, int *ret)
{
	int r = reaped_status(pidfd, ret);

	if (r == 0 || zombie_status(pidfd, ret) == 0)
		return 0;
	return r == -EAGAIN ? reaped_status(pidfd, ret) : r; /* reaped in between, perhaps */
}

pid_t pidfd_pid(int pidfd)
{
	char path[48], text[512];
	const char *line;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	if (file_read_buf(AT_FDCWD, path, text, sizeof(text)) < 0)
		return -1;
	line = strstr(text, "\nPid:");
	return line ? (pid_t)strtol(line + 5, NULL, 10) : -1;
}

uint64_t proc_starttime(pid_t pid)
{
	char path[32], text[1024];
	const char *p;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (file_read_buf(AT_FDCWD, path, text, sizeof(text)) < 0)
		return 0;
	p = strrchr(text, ')'); /* comm may hold spaces and parentheses itself */
	for (int field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	return p ? strtoull(p + 1, NULL, 10) : 0;
}

int boot_id(char ret[BOOT_ID_LEN + 1])
{
	ssize_t n =
		file_read_buf(AT_FDCWD, "/proc/sys/kernel/random/boot_id", ret, BOOT_ID_LEN + 1);

	if (n < 0)
		return (int)n;
	return n == BOOT_ID_LEN ? 0 : fault_plain(-EIO, "boot_id: %zd bytes", n);
}

int random_bytes(void *buf, size_t len)
{
	return getrandom(buf, len, 0) == (ssize_t)len ? 0 : -EIO;
}
