/* The child's half up to pivot_root: the container's inside, built beneath the rootfs by
 * descriptors. Runs in the new namespaces, with all capabilities over them and none (in a user
 * namespace) over the host. */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/mem.h"
#include "ipc/channel.h"
#include "shim/launch/launch.h"
#include "shim/launch/mnt.h"
#include "shim/launch/path.h"
#include "shim/launch/recipe.h"
#include "shim/launch/wait.h"

int step_alone(struct launch *l)
{
	sigset_t none;

	if (prctl(PR_SET_DUMPABLE, 0) != 0)
		return fault(-errno, "make this process undumpable");
	for (int s = 1; s < NSIG; s++)
		if (s != SIGPIPE)
			signal(s, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	umask(022);
	/* "." while this still is the state directory's owner: a user namespace's root can't look
	 * into it any more */
	l->here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (l->here < 0)
		return fault(-errno, "open the state directory");
	/* the keeper's session is none of the container's business */
	return setsid() >= 0 ? 0 : fault(-errno, "setsid");
}

/* Becoming the namespace's root gives ids that are mapped; capabilities over it we have already. */
int step_mapped(struct launch *l)
{
	int r = wait_parent(l, SYNC_MAPPED);

	if (r < 0 || !launch_new_ns(l, CLONE_NEWUSER))
		return r;
	if (setresgid(0, 0, 0) != 0 || setresuid(0, 0, 0) != 0)
		return fault(-errno, "become root of the user namespace");
	if (syscall(SYS_setgroups, 0, NULL) != 0)
		return fault(-errno, "drop the host's groups");
	return prctl(PR_SET_DUMPABLE, 0) == 0 ? 0 : fault(-errno, "stay undumpable");
}

int step_loopback(struct launch *l)
{
	struct ifreq req = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	auto_fd fd = -1;

	if (!launch_new_ns(l, CLONE_NEWNET))
		return 0;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &req) != 0)
		return fault(-errno, "bring the loopback interface up");
	return 0;
}

int step_hostname(struct launch *l)
{
	const char *host = sandbox_string(l->sb, l->sb->hostname);
	const char *domain = sandbox_string(l->sb, l->sb->domainname);

	if (host[0] && sethostname(host, strlen(host)) != 0)
		return fault(-errno, "hostname \"%s\"", host);
	if (domain[0] && setdomainname(domain, strlen(domain)) != 0)
		return fault(-errno, "domainname \"%s\"", domain);
	return 0;
}

/* "." is the state directory in our copy of the mount tree; over it stands, from here on and only
 * here, the container's root. */
int step_attach_root(struct launch *l)
{
	int r = mnt_attach(l->root, l->here);

	return r < 0 ? fault(r, "attach the rootfs") : 0;
}

static int attach(struct launch *l, int mount, const char *target, bool is_dir, bool plain)
{
	auto_fd at = plain ? path_open_plain(l->root, target) : -ENOENT;
	int r;

	if (at == -ENOENT)
		at = path_make(l->root, target, is_dir);
	/* /proc, /sys and /dev themselves must be what they are called, not a link to elsewhere */
	if (plain && at >= 0) {
		fd_close(&at);
		at = path_open_plain(l->root, target);
	}
	if (at < 0) {
		r = at;
		at = -1;
		return fault(r, "mount point %s%s", target,
			r == -ELOOP ? " (a symlink in the rootfs)" : "");
	}
	r = mnt_attach(mount, at);
	return r < 0 ? fault(r, "mount %s", target) : 0;
}

static int attach_bind(struct launch *l, int mount, const char *target)
{
	struct stat st;

	if (fstat(mount, &st) != 0)
		return fault(-errno, "volume for %s", target);
	return attach(l, mount, target, S_ISDIR(st.st_mode), false);
}

static int fresh(struct launch *l, uint32_t i, const struct sandbox_mount *m, const char *type)
{
	struct sandbox_walk w = sandbox_walk(l->sb, m->options);
	const char *options[40] = {NULL}, *why = "";
	const char *target = sandbox_string(l->sb, m->target);
	int fd, r, n = 0;

	for (const char *s; (s = sandbox_next(&w)) && n < 39;)
		options[n++] = s;
	fd = mnt_new(type, m->attr, options, &why);
	if (fd < 0)
		return m->optional
			       ? 0
			       : fault(fd, "%s for %s%s%s", type, target, why[0] ? ": " : "", why);
	r = attach(l, fd, target, true, m->kind == MOUNT_PROC || m->kind == MOUNT_SYSFS);
	if (r == 0)
		r = place_made(l, i, m, fd);
	if (m->kind == MOUNT_PROC && l->proc < 0)
		l->proc = fd_take(&fd);
	if (m->kind == MOUNT_DEVPTS && l->devpts < 0)
		l->devpts = fd_take(&fd);
	fd_close(&fd);
	return r;
}

/* A tmpfs with a directory per v1 hierarchy, as hybrid hosts have it; on pure v2 the group itself.
 */
static int cgroups(struct launch *l, const struct sandbox_mount *m)
{
	static const char *const options[] = {"mode=0755", "size=65536", NULL};
	const char *target = sandbox_string(l->sb, m->target), *why;
	char path[4300];
	auto_fd top = -1;
	int r;

	if (l->hier.pure_v2 && l->group[GROUP_V2].view >= 0)
		return attach(l, l->group[GROUP_V2].view, target, true, false);
	top = mnt_new(
		"tmpfs", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, options, &why);
	r = top < 0 ? fault(top, "tmpfs for %s", target) : attach(l, top, target, true, false);
	for (int i = 0; r == 0 && i < GROUPS; i++) {
		const char *name = strrchr(l->group[i].root, '/');

		if (l->group[i].view < 0 || !name)
			continue;
		snprintf(path, sizeof(path), "%.4000s%.200s", target, name);
		r = attach(l, l->group[i].view, path, true, false);
	}
	if (r == 0 && (r = mnt_attr(top, MOUNT_ATTR_RDONLY, 0, false)) < 0)
		r = fault(r, "%s: read-only", target);
	return r;
}

static int one_mount(struct launch *l, uint32_t i, const struct sandbox_mount *m)
{
	static const char *const types[MOUNT_KINDS] = {
		[MOUNT_PROC] = "proc",
		[MOUNT_SYSFS] = "sysfs",
		[MOUNT_TMPFS] = "tmpfs",
		[MOUNT_DEVPTS] = "devpts",
		[MOUNT_MQUEUE] = "mqueue",
	};
	const char *target = sandbox_string(l->sb, m->target);

	if (l->mounts[i] >= 0)
		return attach_bind(l, l->mounts[i], target);
	if (m->kind == MOUNT_DEV)
		return attach(l, l->dev, target, true, true);
	if (m->kind == MOUNT_CGROUP)
		return cgroups(l, m);
	return types[m->kind] ? fresh(l, i, m, types[m->kind]) : 0;
}

int step_mounts(struct launch *l)
{
	const struct sandbox_mount *m = sandbox_range(l->sb, l->sb->mounts, sizeof(*m));
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < l->host_mount_count; i++)
		r = attach(l, l->host_mounts[i].fd, l->host_mounts[i].target, true, false);
	for (uint32_t i = 0; r == 0 && i < l->sb->mounts.count; i++)
		r = one_mount(l, i, &m[i]);
	return r;
}

/* Also where the root is read-only, and over a tmpfs of the user's at /run. */
int step_notify_place(struct launch *l)
{
	return l->notify < 0 ? 0 : attach(l, l->notify, NOTIFY_PLACE, true, false);
}

int step_sysctl(struct launch *l)
{
	struct sandbox_walk w = sandbox_walk(l->sb, l->sb->sysctls);
	char path[256];

	for (const char *key; (key = sandbox_next(&w));) {
		const char *value = sandbox_next(&w);
		auto_fd fd = -1;

		if (!value || l->proc < 0)
			return fault_plain(-ENOENT, "sysctl %s: there is no /proc", key);
		snprintf(path, sizeof(path), "sys/%s", key);
		fd = path_open_proc(l->proc, path, O_WRONLY);
		if (fd < 0)
			return fault(fd, "sysctl %s", key);
		if (write(fd, value, strlen(value)) < 0)
			return fault(-errno, "sysctl %s = \"%s\"", key, value);
	}
	return 0;
}

static bool is_missing(int r)
{
	return r == -ENOENT || r == -ENOTDIR || r == -EACCES;
}

int step_readonly_paths(struct launch *l)
{
	struct sandbox_walk w = sandbox_walk(l->sb, l->sb->readonly);

	for (const char *path; (path = sandbox_next(&w));) {
		auto_fd at = path_open(l->root, path), copy = -1;
		int r;

		if (at < 0) {
			r = at;
			at = -1;
			if (is_missing(r))
				continue;
			return fault(r, "read-only path %s", path);
		}
		copy = mnt_clone(at, "", true);
		r = copy < 0 ? copy : mnt_attr(copy, MOUNT_ATTR_RDONLY, 0, true);
		if (r >= 0)
			r = mnt_attach(copy, at);
		if (r < 0)
			return fault(r, "read-only path %s", path);
	}
	return 0;
}

/* The first use attaches the original; a mount is only copied from where it is attached. */
static int mask(int *original, bool *used, int at)
{
	auto_fd copy = -1;

	if (!*used) {
		*used = true;
		return mnt_attach(*original, at);
	}
	copy = mnt_clone(*original, "", false);
	return copy < 0 ? copy : mnt_attach(copy, at);
}

/* Files get the host's null device, directories one shared empty read-only tmpfs. */
int step_masked_paths(struct launch *l)
{
	static const char *const options[] = {"mode=0555", "nr_inodes=2", "size=4096", NULL};
	struct sandbox_walk w = sandbox_walk(l->sb, l->sb->masked);
	bool null_used = false, empty_used = false;
	auto_fd empty = -1;
	const char *why;

	empty = mnt_new("tmpfs",
		MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
		options, &why);
	if (empty < 0)
		return fault(empty, "tmpfs for masked directories");
	for (const char *path; (path = sandbox_next(&w));) {
		auto_fd at = path_open(l->root, path);
		struct stat st;
		int r = at < 0 ? at : fstat(at, &st) != 0 ? -errno : 0;

		if (at < 0)
			at = -1;
		if (is_missing(r))
			continue;
		if (r == 0)
			r = S_ISDIR(st.st_mode) ? mask(&empty, &empty_used, at)
						: mask(&l->null_mount, &null_used, at);
		if (r < 0)
			return fault(r, "masked path %s", path);
	}
	return 0;
}

int step_readonly_root(struct launch *l)
{
	int r;

	if (!(l->sb->flags & SANDBOX_READONLY))
		return 0;
	r = mnt_attr(l->root, MOUNT_ATTR_RDONLY, 0, false);
	return r < 0 ? fault(r, "make the rootfs read-only") : 0;
}

/* pivot_root(".", ".") stacks the old root over the new one, where one umount takes it off: no
 * directory in the rootfs is needed for it (pivot_root(2)). */
int step_pivot(struct launch *l)
{
	if (fchdir(l->root) != 0)
		return fault(-errno, "enter the rootfs");
	if (syscall(SYS_pivot_root, ".", ".") != 0)
		return fault(-errno, "pivot_root");
	if (umount2(".", MNT_DETACH) != 0)
		return fault(-errno, "detach the host's root");
	return chdir("/") == 0 ? 0 : fault(-errno, "enter the new root");
}
