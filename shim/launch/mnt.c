#include "shim/launch/mnt.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "ipc/base/fd.h"
#include "ipc/base/have.h"

int mnt_clone(int dir, const char *path, bool recursive)
{
	unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
	int fd;

	flags |= path[0] ? 0 : AT_EMPTY_PATH;
	flags |= recursive ? AT_RECURSIVE : 0;
	fd = open_tree(dir, path, flags);
	return fd < 0 ? -errno : fd;
}

int mnt_attr(int mount, uint64_t set, uint64_t clear, bool recursive)
{
	struct mount_attr a = {.attr_set = set, .attr_clr = clear};

	if (set & MOUNT_ATTR__ATIME) /* the mode is one field: it is cleared as a whole */
		a.attr_clr |= MOUNT_ATTR__ATIME;
	if (!a.attr_set && !a.attr_clr)
		return 0;
	return mount_setattr(mount, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &a,
		       sizeof(a)) == 0
		       ? 0
		       : -errno;
}

static bool on_tmpfs(int mount)
{
	struct statfs st;

	return fstatfs(mount, &st) == 0 && st.f_type == TMPFS_MAGIC;
}

int mnt_idmap(int mount, int userns, bool recursive)
{
	struct mount_attr a = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns};

	if (!have(HAVE_TMPFS_IDMAP) && on_tmpfs(mount))
		return -EINVAL; /* as an older kernel says */
	return mount_setattr(mount, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &a,
		       sizeof(a)) == 0
		       ? 0
		       : -errno;
}

int mnt_attach(int mount, int target)
{
	return move_mount(mount, "", target, "",
		       MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0
		       ? 0
		       : -errno;
}

static int set_option(int fs, const char *option)
{
	const char *eq = strchr(option, '=');
	char key[64];

	if (!eq)
		return fsconfig(fs, FSCONFIG_SET_FLAG, option, NULL, 0);
	snprintf(key, sizeof(key), "%.*s", (int)(eq - option), option);
	return fsconfig(fs, FSCONFIG_SET_STRING, key, eq + 1, 0);
}

/* The context's log holds lines like "e tmpfs: Bad value for 'size'". */
static const char *complaint(int fs)
{
	static char line[200];
	ssize_t n = read(fs, line, sizeof(line) - 1);

	line[n > 0 ? n : 0] = '\0';
	line[strcspn(line, "\n")] = '\0';
	return line[0] && line[1] == ' ' ? line + 2 : line;
}

int mnt_new(const char *type, uint64_t attr, const char *const *options, const char **why)
{
	auto_fd fs = fsopen(type, FSOPEN_CLOEXEC);
	int fd, err;

	*why = "";
	if (fs < 0)
		return -errno;
	/* what mount tables show as the source; a type that wants none says so, which is fine */
	fsconfig(fs, FSCONFIG_SET_STRING, "source", type, 0);
	for (; options && *options; options++) {
		if (set_option(fs, *options) == 0)
			continue;
		err = errno;
		*why = complaint(fs);
		return -err;
	}
	if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) != 0) {
		err = errno;
		*why = complaint(fs);
		return -err;
	}
	fd = fsmount(fs, FSMOUNT_CLOEXEC, (unsigned)attr);
	return fd < 0 ? -errno : fd;
}
