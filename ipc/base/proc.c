#include "ipc/base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/file.h"

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
