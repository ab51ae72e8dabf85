#include "shim/peer.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/base/fd.h"
#include "ipc/base/file.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

#define CGROUP_FILE_MAX 8192

static bool below(const char *path, size_t len, const char *group)
{
	size_t n = strlen(group);

	return len >= n && strncmp(path, group, n) == 0 && (len == n || path[n] == '/');
}

/* A line is HIERARCHY:CONTROLLERS:PATH (cgroups(7)). */
static bool in_cgroup(const char *text, const char *group)
{
	for (const char *line = text; *line;) {
		size_t len = strcspn(line, "\n");
		const char *path = memchr(line, ':', len);

		path = path ? memchr(path + 1, ':', len - (size_t)(path + 1 - line)) : NULL;
		if (path && below(path + 1, len - (size_t)(path + 1 - line), group))
			return true;
		line += len + (line[len] == '\n');
	}
	return false;
}

static bool other_pid_namespace(pid_t pid)
{
	char path[48], theirs[64], ours[64];
	ssize_t n, m;

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)pid);
	n = readlink(path, theirs, sizeof(theirs));
	m = readlink("/proc/self/ns/pid", ours, sizeof(ours));
	return n < 0 || n != m || memcmp(theirs, ours, (size_t)n) != 0;
}

static bool ended(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

bool peer_inside(int fd, pid_t pid, const char *cgroup)
{
	char path[32], text[CGROUP_FILE_MAX];
	auto_fd pidfd = -1;
	socklen_t len = sizeof(pidfd);

	if (pid <= 0)
		return true;
	/* before 6.5 the number alone must do */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len) < 0)
		pidfd = -1;
	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	if (file_read_buf(AT_FDCWD, path, text, sizeof(text)) < 0)
		return true;
	if (in_cgroup(text, cgroup) || other_pid_namespace(pid))
		return true;
	/* it has lived until here, so what was read was about it */
	return pidfd >= 0 && ended(pidfd);
}
