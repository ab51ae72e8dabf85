#include "ipc/let_go.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static bool is_socket(int fd)
{
	socklen_t len = sizeof(int);
	int type;

	return fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0;
}

/* A child that has a copy of everything, until the other end of the pipe is closed. Its parent may
 * have threads: it calls nothing that could take a lock. */
static pid_t keep_copies(int *until)
{
	int pipe[2];
	char byte;
	pid_t pid;

	if (pipe2(pipe, O_CLOEXEC) < 0)
		return -1;
	pid = _Fork();
	if (pid == 0) {
		close(pipe[1]);
		while (read(pipe[0], &byte, 1) < 0 && errno == EINTR)
			;
		_exit(0);
	}
	close(pipe[0]);
	*until = pipe[1];
	return pid;
}

static void end(pid_t pid, int until)
{
	close(until);
	while (pid > 0 && wait4(pid, NULL, 0, NULL) < 0 && errno == EINTR)
		;
}

void let_go(int *fds, size_t n)
{
	static const struct linger none;
	bool sockets = false;
	int until = -1;
	pid_t pid;

	for (size_t i = 0; i < n; i++)
		sockets |= is_socket(fds[i]);
	pid = sockets ? keep_copies(&until) : 0;
	for (size_t i = 0; i < n; i++) {
		if (pid < 0 && fds[i] >= 0) /* as good as it gets without one */
			setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &none, sizeof(none));
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
	if (until >= 0)
		end(pid, until);
}
