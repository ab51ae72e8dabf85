#include "shim/launch/path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "ipc/base/fd.h"

static int openat2_(int dir, const char *path, int flags, mode_t mode, unsigned long long resolve)
{
	struct open_how how = {
		.flags = (unsigned)flags | O_CLOEXEC,
		.mode = flags & O_CREAT ? mode : 0,
		.resolve = resolve,
	};
	int fd;

	/* EAGAIN: a rename elsewhere raced with a ".." on the way (openat2(2)). */
	for (int tries = 0; tries < 64; tries++) {
		fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
		if (fd >= 0 || errno != EAGAIN)
			break;
	}
	return fd < 0 ? -errno : fd;
}

int path_open(int root, const char *path)
{
	return openat2_(root, path, O_PATH, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int path_open_plain(int root, const char *path)
{
	return openat2_(root, path, O_PATH, 0, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);
}

int path_open_beneath(int dir, const char *name)
{
	return openat2_(dir, name, O_PATH | O_DIRECTORY, 0,
		RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS);
}

int path_open_proc(int proc, const char *path, int flags)
{
	struct statfs fs;
	int fd = openat2_(proc, path, flags, 0,
		RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);

	if (fd >= 0 && (fstatfs(fd, &fs) != 0 || fs.f_type != PROC_SUPER_MAGIC)) {
		close(fd);
		return -EXDEV;
	}
	return fd;
}

static int make_dir(int parent, const char *name)
{
	return mkdirat(parent, name, 0755) == 0 || errno == EEXIST ? 0 : -errno;
}

static int make_file(int parent, const char *name)
{
	int fd = openat(parent, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_WRONLY, 0644);

	if (fd < 0)
		return errno == EEXIST ? 0 : -errno;
	close(fd);
	return 0;
}

/* Parents one by one: what is there is resolved by the kernel, what is missing is made on a
 * descriptor that was just verified to lie inside. */
int path_make(int root, const char *path, int is_dir)
{
	char prefix[4096];
	auto_fd parent = -1;
	const char *name;
	int fd = path_open(root, path), r;

	if (fd != -ENOENT)
		return fd;
	name = strrchr(path, '/') + 1;
	if ((size_t)(name - path) >= sizeof(prefix))
		return -ENAMETOOLONG;
	snprintf(prefix, sizeof(prefix), "%.*s", (int)(name - path - 1), path);
	parent = prefix[0] ? path_make(root, prefix, 1) : path_open(root, "/");
	if (parent < 0)
		return parent;
	r = is_dir ? make_dir(parent, name) : make_file(parent, name);
	return r < 0 ? r : path_open(root, path);
}
