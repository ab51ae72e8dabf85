/* Private copies of the files that the client has made for this container (/etc/hosts and its
 * like): on one small tmpfs, so that what the service writes is charged to it, can't fill the
 * host's /run, and is gone with the sandbox. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"
#include "ipc/base/mem.h"
#include "shim/launch/launch.h"
#include "shim/launch/mnt.h"
#include "shim/launch/recipe.h"

#define FILE_MAX (2u << 20)

static const char *const names[] = {"hosts", "hostname", "resolv.conf"};

/* The name below the state directory of a source that is one of these files; NULL otherwise. Told
 * by its path's text: something is attached over the directory by now, so the path leads elsewhere.
 */
static const char *own_name(const struct launch *l, const char *source)
{
	char tail[REALM_MAX + ID_MAX + 32];
	size_t len = strlen(source), n;

	for (size_t i = 0; i < array_size(names); i++) {
		n = (size_t)snprintf(
			tail, sizeof(tail), "/%s/%s/%s", l->set.realm, l->set.id, names[i]);
		if (len > n && strcmp(source + len - n, tail) == 0 &&
			faccessat(l->state, names[i], F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			return names[i];
	}
	return NULL;
}

static int copy(const struct launch *l, const char *name)
{
	auto_free char *text = NULL;
	ssize_t n = file_read(l->state, name, FILE_MAX, &text);
	auto_fd fd = -1;
	int r;

	if (n < 0)
		return (int)n;
	fd = openat(l->copies, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return fault(-errno, "copy %s", name);
	r = write_all(fd, text, (size_t)n);
	if (r == 0 && (fchmod(fd, 0644) != 0 || fchown(fd, launch_root_id(l, l->sb->uid_map),
							launch_root_id(l, l->sb->gid_map)) != 0))
		r = -errno;
	return r < 0 ? fault(r, "copy %s", name) : 0;
}

/* It is attached, over the state directory as this short-lived process sees it: kernels before 6.15
 * clone no mount that has no place. */
static int store_open(struct launch *l)
{
	static const char *const options[] = {"size=4m", "nr_inodes=8", "mode=0755", NULL};
	auto_fd here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	const char *why;
	int r = 0;

	if (l->copies >= 0)
		return 0;
	if (here < 0)
		return fault(-errno, "open the state directory");
	l->copies = mnt_new(
		"tmpfs", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, options, &why);
	if (l->copies < 0)
		return fault(l->copies, "tmpfs for files: %s", why);
	for (size_t i = 0; r == 0 && i < array_size(names); i++)
		if (faccessat(l->state, names[i], F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			r = copy(l, names[i]);
	if (r == 0)
		r = mnt_attach(l->copies, here);
	return r < 0 ? fault(r, "tmpfs for files") : 0;
}

int copies_mount(struct launch *l, const char *source, int *ret)
{
	const char *name = own_name(l, source);
	int r;

	if (!name)
		return 0;
	r = store_open(l);
	if (r < 0)
		return r;
	*ret = mnt_clone(l->copies, name, false);
	return *ret < 0 ? fault(*ret, "clone the mount of %s", name) : 1;
}
