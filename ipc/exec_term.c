/* What stands at the path is the container's to choose: it is opened only once it is known to be a
 * devpts's ptmx, and the other end comes by ioctl, never by name. */
#include "ipc/exec_term.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"

#define PTMX_MAJOR 5
#define PTMX_MINOR 2

/* O_PATH opens nothing yet: a node that the container put there has no say in what happens. */
static int find_ptmx(int root)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	auto_fd fd = (int)syscall(SYS_openat2, root, "dev/pts/ptmx", &how, sizeof(how));
	struct statfs fs;
	struct stat st;

	if (fd < 0)
		return fault(-errno, "terminal: the container has no terminals (/dev/pts/ptmx)");
	if (fstatfs(fd, &fs) < 0 || fstat(fd, &st) < 0)
		return fault(-errno, "terminal: /dev/pts/ptmx of the container");
	if (fs.f_type != DEVPTS_SUPER_MAGIC || !S_ISCHR(st.st_mode) ||
		st.st_rdev != makedev(PTMX_MAJOR, PTMX_MINOR))
		return fault_plain(-ENXIO,
			"terminal: the container has no terminals (its /dev/pts is no devpts)");
	return fd_take(&fd);
}

/* The new terminal belongs to whoever opens it: that has to be somebody whom the container knows,
 * which in a user namespace we are not. */
static int open_as_root_of(int ptmx, int root)
{
	char path[40];
	struct stat st;
	int fd;

	if (fstat(root, &st) < 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", ptmx);
	setfsgid(st.st_gid);
	setfsuid(st.st_uid);
	fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	fd = fd < 0 ? -errno : fd;
	setfsuid(geteuid());
	setfsgid(getegid());
	return fd;
}

int exec_term_open(int root, int *peer)
{
	auto_fd ptmx = find_ptmx(root), master = -1;
	int unlock = 0;

	*peer = -1;
	if (ptmx < 0) {
		int r = ptmx;

		ptmx = -1;
		return r;
	}
	master = open_as_root_of(ptmx, root);
	if (master < 0) {
		int r = master;

		master = -1;
		return fault(r, "terminal: open one of the container");
	}
	if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return fault(-errno, "terminal: unlock it");
	*peer = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (*peer < 0)
		return fault(-errno, "terminal: its other end");
	return fd_take(&master);
}
