/* What the parent prepares as detached mounts, with the host's rights: init's binary, the rootfs (a
 * directory, or the host's root under an ephemeral overlay), the device directory, volumes. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"
#include "ipc/base/mem.h"
#include "ipc/sysctl.h"
#include "shim/launch/born.h"
#include "shim/launch/launch.h"
#include "shim/launch/mnt.h"
#include "shim/launch/path.h"
#include "shim/launch/recipe.h"

/* A read-only mount of the one file: its inode can't be written from inside, whoever gets hold of
 * /proc/1/exe, and its mode 0111 keeps it unreadable. */
int step_exe(struct launch *l)
{
	int r;

	if (launch_flag(l, SETTINGS_NO_INIT))
		return 0;
	l->exe = mnt_clone(l->init_exe, "", false);
	if (l->exe < 0)
		return fault(l->exe, "clone the mount of holdfast-init");
	r = mnt_attr(l->exe, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 0, false);
	return r < 0 ? fault(r, "make holdfast-init's mount read-only") : 0;
}

/* The working directory goes along into the copy: "." is then the state directory as a place in our
 * own namespace, the one spot where something can be attached by name. */
int step_mount_namespace(struct launch *l)
{
	struct mount_attr private = {.propagation = MS_PRIVATE};

	if (fchdir(l->state) != 0)
		return fault(-errno, "enter the state directory");
	if (unshare(CLONE_NEWNS) != 0)
		return fault(-errno, "make a mount namespace");
	if (mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &private, sizeof(private)) != 0)
		return fault(-errno, "make all mounts private");
	return 0;
}

/* What may be written below /proc/sys: here and not by the reader, who can neither look at a joined
 * namespace nor be believed. */
static int check_sysctls(struct launch *l, uint64_t own)
{
	struct sandbox_walk w = sandbox_walk(l->sb, l->sb->sysctls);

	for (const char *key; (key = sandbox_next(&w)); sandbox_next(&w)) {
		uint64_t ns = sysctl_namespace(key);

		if (!(ns & own))
			return fault_plain(-EPERM,
				"sysctl %s: would be set for the host (make or join another "
				"%s namespace, or leave the sysctl out)",
				key, namespace_name(ns));
	}
	return 0;
}

static bool is_hosts(int fd, uint32_t type)
{
	char path[40];
	struct stat joined, host;

	snprintf(path, sizeof(path), "/proc/self/ns/%s", namespace_name(type));
	return fstat(fd, &joined) != 0 || stat(path, &host) != 0 ||
	       (joined.st_dev == host.st_dev && joined.st_ino == host.st_ino);
}

int step_join(struct launch *l)
{
	const struct sandbox_join *j = sandbox_range(l->sb, l->sb->joins, sizeof(*j));
	uint64_t own = l->sb->namespaces;

	for (uint32_t i = 0; i < l->sb->joins.count; i++) {
		const char *path = sandbox_string(l->sb, j[i].path);
		/* of what is no namespace file, a FIFO would wait for its writer */
		auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

		if (fd < 0)
			return fault(-errno, "namespace file %s", path);
		own |= is_hosts(fd, j[i].type) ? 0 : j[i].type;
		/* The type is checked by the kernel: a file of another kind is EINVAL. */
		if (setns(fd, (int)j[i].type) != 0)
			return fault(-errno, "join the namespace %s", path);
	}
	return check_sysctls(l, own);
}

/* The file system type of the mount that dev belongs to, for messages. */
static const char *fs_name(dev_t dev)
{
	static char type[64];
	auto_free char *text = NULL;
	char want[40], *save = NULL;

	snprintf(want, sizeof(want), " %u:%u ", major(dev), minor(dev));
	snprintf(type, sizeof(type), "its file system");
	if (file_read(AT_FDCWD, "/proc/self/mountinfo", 16u << 20, &text) < 0)
		return type;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		const char *tail = strstr(line, " - ");

		if (strstr(line, want) && tail && sscanf(tail, " - %63s", type) == 1)
			break;
	}
	return type;
}

static int show_idmapped(struct launch *l, int mount, const char *path, bool recursive)
{
	auto_fd userns = -1;
	struct stat st;
	int r;

	if (!launch_flag(l, SETTINGS_ROOTFS_IDMAP) || !launch_new_ns(l, CLONE_NEWUSER))
		return 0;
	userns = born_userns(l);
	if (userns < 0)
		return userns;
	r = mnt_idmap(mount, userns, recursive);
	if (r >= 0)
		return 0;
	if (fstat(mount, &st) != 0)
		return fault(-errno, "%s", path);
	return fault(r,
		"rootfs %s lies on %s, which can't be shown id-mapped (copy it to ext4, xfs or "
		"btrfs, or leave the user namespace out)",
		path, fs_name(st.st_dev));
}

static uint64_t root_attr(const struct launch *l)
{
	uint64_t nosuid = l->sb->flags & SANDBOX_ROOT_NOSUID ? MOUNT_ATTR_NOSUID : 0;

	return MOUNT_ATTR_NODEV | nosuid; /* devices stand in our own /dev only */
}

static int rootfs_directory(struct launch *l)
{
	const char *path = sandbox_string(l->sb, l->sb->root);
	struct stat st;
	int r;

	if (stat(path, &st) != 0)
		return fault(-errno, "rootfs %s", path);
	if (!S_ISDIR(st.st_mode))
		return fault(-ENOTDIR, "rootfs %s", path);
	l->root = mnt_clone(AT_FDCWD, path, true);
	if (l->root < 0)
		return fault(l->root, "rootfs %s: clone its mount", path);
	r = show_idmapped(l, l->root, path, true);
	if (r < 0)
		return r;
	r = mnt_attr(l->root, root_attr(l), 0, true);
	return r < 0 ? fault(r, "rootfs %s: mount attributes", path) : 0;
}

/* upper and work on a tmpfs of ours; lower too when it is shown id-mapped. The layers are attached
 * while the overlay is made (kernels before 6.15 refuse detached ones), in this process's
 * namespace, which goes away; the overlay keeps its own references. */
static int overlay_layers(struct launch *l, char *lower, size_t size)
{
	static const char *const options[] = {"mode=0755", NULL};
	uint32_t uid = launch_root_id(l, l->sb->uid_map), gid = launch_root_id(l, l->sb->gid_map);
	bool idmap = launch_flag(l, SETTINGS_ROOTFS_IDMAP) && launch_new_ns(l, CLONE_NEWUSER);
	auto_fd clone = -1, place = -1, at = -1;
	const char *why;
	int fd = mnt_new("tmpfs", MOUNT_ATTR_NODEV, options, &why), r;

	if (fd < 0)
		return fault(fd, "overlay's own tmpfs: %s", why);
	at = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = at < 0 ? -errno : mnt_attach(fd, at);
	if (r < 0)
		return close(fd), fault(r, "attach the overlay's tmpfs");
	if (mkdirat(fd, "upper", 0755) != 0 || mkdirat(fd, "work", 0755) != 0 ||
		mkdirat(fd, "lower", 0755) != 0 || fchownat(fd, "upper", uid, gid, 0) != 0)
		return close(fd), fault(-errno, "overlay's directories");
	snprintf(lower, size, "/");
	if (!idmap)
		return fd;
	snprintf(lower, size, "/proc/self/fd/%d/lower", fd);
	clone = mnt_clone(AT_FDCWD, "/", false);
	place = openat(fd, "lower", O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = clone < 0 ? fault(clone, "clone the host's root") : show_idmapped(l, clone, "/", false);
	if (r == 0 && (r = mnt_attach(clone, place)) < 0)
		r = fault(r, "attach the host's root");
	return r < 0 ? (close(fd), r) : fd;
}

static int rootfs_overlay(struct launch *l)
{
	char lower[64], lower_opt[80], upper[64], work[64];
	const char *const options[] = {lower_opt, upper, work, NULL};
	const char *why;
	auto_fd tmpfs = overlay_layers(l, lower, sizeof(lower));

	if (tmpfs < 0)
		return tmpfs;
	snprintf(lower_opt, sizeof(lower_opt), "lowerdir=%s", lower);
	snprintf(upper, sizeof(upper), "upperdir=/proc/self/fd/%d/upper", tmpfs);
	snprintf(work, sizeof(work), "workdir=/proc/self/fd/%d/work", tmpfs);
	l->root = mnt_new("overlay", root_attr(l), options, &why);
	return l->root < 0 ? fault(l->root, "overlay over the host's root: %s", why) : 0;
}

static bool shown(const char *point)
{
	static const char *const below[] = {"/usr", "/opt"};

	for (size_t i = 0; i < array_size(below); i++) {
		size_t n = strlen(below[i]);

		if (strncmp(point, below[i], n) == 0 && (!point[n] || point[n] == '/'))
			return true;
	}
	return false;
}

/* An overlay shows one file system; programs that the host keeps on others come along read-only.
 * mountinfo lists parents before what is mounted on them. */
static int host_mounts(struct launch *l)
{
	auto_free char *text = NULL;
	char *save = NULL, point[256];
	ssize_t n = file_read(AT_FDCWD, "/proc/self/mountinfo", 16u << 20, &text);

	if (n < 0)
		return (int)n;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		uint32_t i = l->host_mount_count;
		int r;

		if (sscanf(line, "%*s %*s %*s %*s %255s", point) != 1 || !shown(point) ||
			strchr(point, '\\'))
			continue;
		if (i == array_size(l->host_mounts)) {
			launch_warn(l, "%s and further mounts of the host are not shown", point);
			break;
		}
		snprintf(l->host_mounts[i].target, sizeof(point), "%s", point);
		l->host_mounts[i].fd = mnt_clone(AT_FDCWD, point, false);
		if (l->host_mounts[i].fd < 0)
			return fault(l->host_mounts[i].fd, "%s: clone its mount", point);
		r = mnt_attr(l->host_mounts[i].fd, MOUNT_ATTR_RDONLY | root_attr(l), 0, false);
		if (r < 0)
			return fault(r, "%s: read-only", point);
		l->host_mount_count++;
	}
	return 0;
}

int step_rootfs(struct launch *l)
{
	int r;

	if (!launch_flag(l, SETTINGS_HOST_ROOT))
		return rootfs_directory(l);
	r = rootfs_overlay(l);
	return r < 0 ? r : host_mounts(l);
}

struct node_spec {
	const char *name;
	unsigned major, minor;
};
static const struct node_spec default_nodes[] = {{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7},
	{"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
static const struct {
	const char *name, *to;
} dev_links[] = {{"fd", "/proc/self/fd"}, {"stdin", "/proc/self/fd/0"},
	{"stdout", "/proc/self/fd/1"}, {"stderr", "/proc/self/fd/2"}, {"ptmx", "pts/ptmx"},
	{"core", "/proc/kcore"}};

static int own(const struct launch *l, int dir, const char *name, uint32_t uid, uint32_t gid)
{
	/* Ids of config.json count inside; the tmpfs is made by the host's root. */
	const struct sandbox_idmap *u = sandbox_range(l->sb, l->sb->uid_map, sizeof(*u));
	const struct sandbox_idmap *g = sandbox_range(l->sb, l->sb->gid_map, sizeof(*g));
	uint32_t nu = l->sb->uid_map.count, ng = l->sb->gid_map.count;

	for (uint32_t i = 0; i < nu; i++)
		if (uid >= u[i].inside && uid - u[i].inside < u[i].count) {
			uid = u[i].outside + (uid - u[i].inside);
			break;
		}
	for (uint32_t i = 0; i < ng; i++)
		if (gid >= g[i].inside && gid - g[i].inside < g[i].count) {
			gid = g[i].outside + (gid - g[i].inside);
			break;
		}
	return fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW | (name[0] ? 0 : AT_EMPTY_PATH)) ==
			       0
		       ? 0
		       : -errno;
}

/* The directory that name's last component stands in, made if missing. /dev has symlinks of ours
 * (/dev/fd) that lead to the host's descriptors of this very process: none is followed. */
static int node_parent(struct launch *l, const char *name, const char **last)
{
	int at = fcntl(l->dev, F_DUPFD_CLOEXEC, 3), next;
	char dir[512];

	*last = name;
	for (const char *p; at >= 0 && (p = strchr(*last, '/')); *last = p + 1) {
		snprintf(dir, sizeof(dir), "%.*s", (int)(p - *last), *last);
		if (mkdirat(at, dir, 0755) == 0)
			own(l, at, dir, 0, 0);
		next = path_open_beneath(at, dir);
		close(at);
		if (next < 0)
			return fault(next, "/dev/%s: \"%s\" on the way is no directory of its own",
				name, dir);
		at = next;
	}
	return at < 0 ? fault(-errno, "/dev/%s", name) : at;
}

static int make_node(
	struct launch *l, const char *name, uint32_t mode, dev_t dev, uint32_t uid, uint32_t gid)
{
	const char *last;
	auto_fd at = node_parent(l, name, &last);
	int r;

	if (at < 0)
		return at;
	if (mknodat(at, last, mode, dev) != 0)
		return errno == EEXIST ? 0 : fault(-errno, "/dev/%s: make the device node", name);
	/* mknod is subject to the umask, chmod is not; it is our node, made a moment ago */
	if (fchmodat(at, last, mode & 07777, 0) != 0)
		return fault(-errno, "/dev/%s: mode", name);
	r = own(l, at, last, uid, gid);
	return r < 0 ? fault(r, "/dev/%s: owner", name) : 0;
}

/* One that is there already, since it is of the default ones, stays as it is. */
static int more_nodes(struct launch *l)
{
	const struct sandbox_device *d = sandbox_range(l->sb, l->sb->devices, sizeof(*d));

	for (uint32_t i = 0; i < l->sb->devices.count; i++, d++) {
		const char *name = sandbox_string(l->sb, d->path) + 5; /* behind "/dev/" */
		int r = make_node(l, name, d->mode, makedev(d->major, d->minor), d->uid, d->gid);

		if (r < 0)
			return r;
	}
	return 0;
}

static const struct sandbox_mount *dev_mount(const struct launch *l)
{
	const struct sandbox_mount *m = sandbox_range(l->sb, l->sb->mounts, sizeof(*m));

	for (uint32_t i = 0; i < l->sb->mounts.count; i++)
		if (m[i].kind == MOUNT_DEV)
			return &m[i];
	return NULL;
}

enum { DEV_OPTIONS = 16 };

/* Behind ours: the last word of a key counts. */
static void dev_options(struct launch *l, const struct sandbox_mount *m, const char **options)
{
	struct sandbox_walk w = sandbox_walk(l->sb, m->options);
	int n = 2;

	for (const char *s; n < DEV_OPTIONS - 1 && (s = sandbox_next(&w));)
		options[n++] = s;
	options[n] = NULL;
}

/* Made whole before the container can see it, by the host's root: nodes on a tmpfs of a user
 * namespace would not open. 64 KiB are enough for nodes and links, and no store for anybody. */
int step_dev(struct launch *l)
{
	const char *options[DEV_OPTIONS] = {"mode=0755", "size=65536"};
	const struct sandbox_mount *m = dev_mount(l);
	const char *why;
	int r;

	if (!m)
		return 0;
	dev_options(l, m, options);
	l->dev = mnt_new("tmpfs", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, options, &why);
	if (l->dev < 0)
		return fault(l->dev, "tmpfs for /dev: %s", why);
	own(l, l->dev, "", 0, 0);
	for (size_t i = 0; i < array_size(default_nodes); i++) {
		const struct node_spec *n = &default_nodes[i];

		r = make_node(l, n->name, S_IFCHR | 0666, makedev(n->major, n->minor), 0, 0);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < array_size(dev_links); i++)
		if (symlinkat(dev_links[i].to, l->dev, dev_links[i].name) != 0)
			return fault(-errno, "/dev/%s", dev_links[i].name);
	for (size_t i = 0; i < 3; i++) {
		static const char *const dirs[] = {"pts", "shm", "mqueue"};

		if (mkdirat(l->dev, dirs[i], 0755) != 0 || own(l, l->dev, dirs[i], 0, 0) < 0)
			return fault(-errno, "/dev/%s", dirs[i]);
	}
	return more_nodes(l);
}

/* A file of that name that is something else would open what it masks. */
int step_null(struct launch *l)
{
	struct stat st;

	l->null = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (l->null < 0 || fstat(l->null, &st) != 0)
		return fault(-errno, "/dev/null");
	if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
		return fault_plain(-ENODEV, "/dev/null of this host is not the null device");
	l->null_mount = mnt_clone(l->null, "", false);
	return l->null_mount < 0 ? fault(l->null_mount, "clone the mount of /dev/null") : 0;
}

/* sysfs shows the network namespace, which must belong to our user namespace to be mounted afresh.
 */
static bool sysfs_by_bind(const struct launch *l, const struct sandbox_mount *m)
{
	return m->kind == MOUNT_SYSFS && launch_new_ns(l, CLONE_NEWUSER) &&
	       !launch_new_ns(l, CLONE_NEWNET);
}

static int bind_one(struct launch *l, const struct sandbox_mount *m, int *ret)
{
	bool sys = sysfs_by_bind(l, m);
	const char *source = sys ? "/sys" : sandbox_string(l->sb, m->source);
	uint64_t attr = m->attr;
	struct stat st;
	int r;

	r = sys ? 0 : copies_mount(l, source, ret);
	if (r < 0)
		return r;
	if (r == 0 && stat(source, &st) != 0)
		return fault(-errno, "volume %s for %s", source, sandbox_string(l->sb, m->target));
	/* a single node, or a whole /dev, may be the very purpose */
	if (r == 0 && S_ISDIR(st.st_mode) && strcmp(sandbox_string(l->sb, m->target), "/dev") != 0)
		attr |= MOUNT_ATTR_NODEV;
	if (r == 0)
		*ret = mnt_clone(AT_FDCWD, source, m->recursive || sys);
	if (*ret < 0)
		return fault(*ret, "volume %s: clone its mount", source);
	r = mnt_attr(*ret, attr, 0, m->recursive || sys);
	return r < 0 ? fault(r, "volume %s: mount attributes", source) : 0;
}

int step_binds(struct launch *l)
{
	const struct sandbox_mount *m = sandbox_range(l->sb, l->sb->mounts, sizeof(*m));
	int r;

	l->mounts = calloc(l->sb->mounts.count + 1, sizeof(*l->mounts));
	l->made = calloc(l->sb->mounts.count + 1, sizeof(*l->made));
	if (!l->mounts || !l->made)
		return fault(-ENOMEM, "volumes");
	for (uint32_t i = 0; i < l->sb->mounts.count; i++) {
		l->mounts[i] = -1;
		if (m[i].kind != MOUNT_BIND && !sysfs_by_bind(l, &m[i]))
			continue;
		r = bind_one(l, &m[i], &l->mounts[i]);
		if (r < 0)
			return r;
	}
	return 0;
}
