/* root and mounts of config.json: kinds, options, and what every container gets unasked. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

#include "ipc/base/fault.h"
#include "ipc/base/mem.h"
#include "shim/launch/bundle.h"

/* Words of mount(8): attributes set or cleared, in the order given. */
static const struct option_word {
	const char *name;
	uint64_t set, clear;
} attr_words[] = {
	{"ro", MOUNT_ATTR_RDONLY, 0},
	{"rw", 0, MOUNT_ATTR_RDONLY},
	{"rro", MOUNT_ATTR_RDONLY, 0},
	{"nosuid", MOUNT_ATTR_NOSUID, 0},
	{"suid", 0, MOUNT_ATTR_NOSUID},
	{"nodev", MOUNT_ATTR_NODEV, 0},
	{"dev", 0, MOUNT_ATTR_NODEV},
	{"noexec", MOUNT_ATTR_NOEXEC, 0},
	{"exec", 0, MOUNT_ATTR_NOEXEC},
	{"noatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME},
	{"atime", 0, MOUNT_ATTR__ATIME},
	{"relatime", 0, MOUNT_ATTR__ATIME},
	{"norelatime", 0, 0},
	{"strictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME},
	{"nodiratime", MOUNT_ATTR_NODIRATIME, 0},
	{"diratime", 0, MOUNT_ATTR_NODIRATIME},
	{"nosymfollow", MOUNT_ATTR_NOSYMFOLLOW, 0},
	{"defaults", 0, 0},
	{"async", 0, 0},
	{"private", 0, 0},
	{"rprivate", 0, 0},
	{"unbindable", 0, 0},
	{"runbindable", 0, 0},
};
static const char *const shared_words[] = {"slave", "rslave", "shared", "rshared"};

static const struct kind_name {
	const char *type;
	uint32_t kind;
	const char *keys; /* its own options, " key key " */
} kind_names[] = {
	{"proc", MOUNT_PROC, " hidepid subset gid "},
	{"sysfs", MOUNT_SYSFS, " "},
	{"tmpfs", MOUNT_TMPFS, " size mode uid gid nr_inodes nr_blocks inode64 inode32 huge mpol "},
	{"devpts", MOUNT_DEVPTS, " newinstance ptmxmode mode uid gid max "},
	{"mqueue", MOUNT_MQUEUE, " "},
	{"cgroup", MOUNT_CGROUP, " "},
	{"cgroup2", MOUNT_CGROUP, " "},
};

struct mount_list {
	struct bundle *b;
	struct sandbox_mount m[SANDBOX_MOUNTS];
	char target[SANDBOX_MOUNTS][256]; /* for comparing; longer ones are never ours */
	uint32_t count;
};
static struct mount_list list;

static struct sandbox_mount *list_add(uint32_t kind, const char *target)
{
	struct sandbox_mount *m = &list.m[list.count];

	*m = (struct sandbox_mount){.kind = kind};
	m->target = blob_string(&list.b->blob, target);
	snprintf(list.target[list.count++], sizeof(list.target[0]), "%.255s", target);
	return m;
}

static bool list_has(const char *target)
{
	for (uint32_t i = 0; i < list.count; i++)
		if (strcmp(list.target[i], target) == 0)
			return true;
	return false;
}

/* Is it a word of the mount itself? Then m has it. */
static bool word(const struct node *n, struct sandbox_mount *m, const char *s)
{
	for (size_t i = 0; i < array_size(attr_words); i++) {
		if (strcmp(attr_words[i].name, s) != 0)
			continue;
		m->attr = (m->attr & ~attr_words[i].clear) | attr_words[i].set;
		return true;
	}
	for (size_t i = 0; i < array_size(shared_words); i++) {
		if (strcmp(shared_words[i], s) != 0)
			continue;
		bundle_warn(list.b, "config.json: %s: \"%s\": mounts are always private here",
			n->name, s);
		return true;
	}
	return false;
}

static bool key_known(const char *keys, const char *s)
{
	char key[40];

	snprintf(key, sizeof(key), " %.*s ", (int)strcspn(s, "="), s);
	return strstr(keys, key) != NULL;
}

/* A group that the user namespace lacks would be EINVAL: leaving it out gives root's. */
static bool unmapped_gid(const struct bundle *b, const char *s)
{
	unsigned gid;
	const char *base = b->blob.data + b->head.gid_map.off;

	if (!bundle_new_ns(b, CLONE_NEWUSER) || sscanf(s, "gid=%u", &gid) != 1)
		return false;
	for (uint32_t i = 0; i < b->head.gid_map.count; i++) {
		struct sandbox_idmap m;

		memcpy(&m, base + i * sizeof(m), sizeof(m));
		if (gid >= m.inside && gid - m.inside < m.count)
			return false;
	}
	return true;
}

/* As the kernel reads them (shmem_parse_one); here, since there it is too late for a word about it.
 */
static bool tmpfs_value_ok(const char *s)
{
	const char *v = strchr(s, '=');
	size_t digits;

	if (!v++)
		return true;
	if (strncmp(s, "mode=", 5) == 0)
		return *v && v[strspn(v, "01234567")] == '\0';
	digits = strspn(v, "0123456789");
	if (strncmp(s, "uid=", 4) == 0 || strncmp(s, "gid=", 4) == 0)
		return digits && !v[digits];
	if (strncmp(s, "size=", 5) != 0 && strncmp(s, "nr_", 3) != 0)
		return true;
	return digits && (!v[digits] || (strchr("kKmMgGtT%", v[digits]) && !v[digits + 1]));
}

static int option(const struct node *n, struct sandbox_mount *m, const char *keys, const char *s)
{
	if (word(n, m, s))
		return 0;
	if (m->kind == MOUNT_BIND && (strcmp(s, "bind") == 0 || strcmp(s, "rbind") == 0)) {
		m->recursive |= s[0] == 'r';
		return 0;
	}
	if (m->kind == MOUNT_TMPFS && strcmp(s, "tmpcopyup") == 0) {
		bundle_warn(
			list.b, "config.json: %s: tmpcopyup: not done, it starts empty", n->name);
		return 0;
	}
	if (m->kind == MOUNT_DEV && strncmp(s, "mode=", 5) != 0 && strncmp(s, "size=", 5) != 0 &&
		key_known(keys, s)) {
		bundle_warn(list.b, "config.json: %s: \"%.40s\": not done for /dev", n->name, s);
		return 0;
	}
	if (m->kind == MOUNT_CGROUP && strncmp(s, "nsdelegate", 10) == 0)
		return 0;
	if (!key_known(keys, s))
		return node_fault(n, "options", "\"%.60s\": not supported here (remove it)", s);
	if ((m->kind == MOUNT_TMPFS || m->kind == MOUNT_DEV) && !tmpfs_value_ok(s))
		return node_fault(n, "options",
			"\"%.60s\": not a value of tmpfs (use size=16m, mode=0755, uid=1000)", s);
	if (strcmp(s, "newinstance") != 0 && !unmapped_gid(list.b, s))
		blob_more(&list.b->blob, &m->options, s);
	return 0;
}

static int options(const struct node *n, struct sandbox_mount *m, const char *keys)
{
	struct node opts;
	int r = node_array(n, "options", &opts);

	for (size_t i = 0; r == 1 && i < node_count(&opts); i++) {
		const char *s;

		if (node_string_at(&opts, i, &s) < 0 || option(n, m, keys, s) < 0)
			return -EINVAL;
	}
	return r < 0 ? r : 0;
}

static bool is_bind(const struct node *n, const char *type)
{
	struct node opts;

	if (strcmp(type, "bind") == 0 || strcmp(type, "rbind") == 0)
		return true;
	if (node_array(n, "options", &opts) != 1)
		return false;
	for (size_t i = 0; i < node_count(&opts); i++) {
		const char *s = "";

		if (node_string_at(&opts, i, &s) == 0 &&
			(strcmp(s, "bind") == 0 || strcmp(s, "rbind") == 0))
			return true;
	}
	return false;
}

/* procfs decides what the rest of the recipe writes to: nobody else's files there. These few are
 * what emulators of per-container figures put over. */
static int below_proc(
	const struct node *n, const char *target, const struct sandbox_mount *m, const char *source)
{
	static const char *const allowed[] = {"/proc/cpuinfo", "/proc/diskstats", "/proc/meminfo",
		"/proc/stat", "/proc/swaps", "/proc/uptime", "/proc/loadavg", "/proc/slabinfo"};

	if (strncmp(target, "/proc", 5) != 0 || (target[5] && target[5] != '/'))
		return 0;
	if (!target[5] && (m->kind == MOUNT_PROC || (strcmp(source, "/proc") == 0 &&
							    !bundle_new_ns(list.b, CLONE_NEWPID))))
		return 0;
	for (size_t i = 0; i < array_size(allowed); i++)
		if (strcmp(target, allowed[i]) == 0)
			return 0;
	return node_fault(
		n, "destination", "\"%.100s\": nothing may stand over /proc (remove it)", target);
}

static int bind_source(const struct node *n, struct sandbox_mount *m, const char *source)
{
	char path[4096];

	if (!source[0])
		return node_fault(n, "source", "missing (name the host's file or directory)");
	if (source[0] != '/')
		snprintf(path, sizeof(path), "%s/%.3000s", list.b->set->bundle, source);
	else
		snprintf(path, sizeof(path), "%.4090s", source);
	m->source = blob_string(&list.b->blob, path);
	return 0;
}

static const struct kind_name *kind_find(const char *type)
{
	for (size_t i = 0; i < array_size(kind_names); i++)
		if (strcmp(kind_names[i].type, type) == 0)
			return &kind_names[i];
	return NULL;
}

/* Without them the volume would show its owners' ids as they are: more than was asked for. */
static int no_idmap(const struct node *n, const char *key)
{
	struct node maps;
	int r = node_array(n, key, &maps);

	if (r == 1 && node_count(&maps))
		return node_fault(n, key, "id-mapped mounts are not supported (remove it)");
	return r < 0 ? r : 0;
}

static int mount_one(struct bundle *b, const struct node *n)
{
	const char *type = "", *source = "", *dest = "";
	const struct kind_name *kind;
	struct sandbox_mount *m;
	char target[4096];
	bool bind;

	if (node_string(n, "type", &type) < 0 || node_string(n, "source", &source) < 0 ||
		node_string(n, "destination", &dest) < 0 ||
		bundle_path(n, "destination", dest, target, sizeof(target)) < 0)
		return -EINVAL;
	if (!target[1])
		return node_fault(n, "destination", "\"/\": that is the rootfs (use root.path)");
	bind = is_bind(n, type);
	kind = bind ? NULL : kind_find(type);
	if (!bind && !kind)
		return node_fault(n, "type",
			"\"%.40s\": not supported (use bind, tmpfs, proc, sysfs, devpts, mqueue, cgroup)",
			type);
	if (no_idmap(n, "uidMappings") < 0 || no_idmap(n, "gidMappings") < 0)
		return -EINVAL;
	m = list_add(bind ? MOUNT_BIND : kind->kind, target);
	m->recursive = strcmp(type, "rbind") == 0;
	if (m->kind == MOUNT_TMPFS && strcmp(target, "/dev") == 0)
		m->kind = MOUNT_DEV;
	if (bind && strcmp(target, "/dev") == 0)
		b->head.flags |= SANDBOX_HOST_DEV;
	if (below_proc(n, target, m, source) < 0 || (bind && bind_source(n, m, source) < 0) ||
		options(n, m, bind ? " " : kind->keys) < 0)
		return -EINVAL;
	if (m->kind == MOUNT_DEV && (m->attr & (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV)))
		return node_fault(
			n, "options", "ro or nodev: /dev is where the devices stand (remove it)");
	return 0;
}

#define SAFE (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)

/* What a container has though config.json does not speak of it (OCI: default filesystems). */
static void add_defaults(struct bundle *b)
{
	static const struct {
		uint32_t kind, optional;
		const char *target;
		uint64_t attr;
		const char *options;
	} defaults[] = {
		{MOUNT_PROC, 0, "/proc", SAFE, NULL},
		{MOUNT_DEV, 0, "/dev", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, NULL},
		{MOUNT_DEVPTS, 0, "/dev/pts", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, NULL},
		{MOUNT_TMPFS, 0, "/dev/shm", SAFE, "size=67108864"},
		{MOUNT_MQUEUE, 1, "/dev/mqueue", SAFE, NULL},
		{MOUNT_SYSFS, 1, "/sys", SAFE | MOUNT_ATTR_RDONLY, NULL},
	};

	for (size_t i = 0; i < array_size(defaults) && list.count < SANDBOX_MOUNTS; i++) {
		struct sandbox_mount *m;

		if (list_has(defaults[i].target) ||
			((b->head.flags & SANDBOX_HOST_DEV) && defaults[i].target[1] == 'd') ||
			(defaults[i].kind == MOUNT_PROC && !bundle_new_ns(b, CLONE_NEWPID)) ||
			(defaults[i].kind == MOUNT_MQUEUE && !bundle_new_ns(b, CLONE_NEWIPC)))
			continue;
		m = list_add(defaults[i].kind, defaults[i].target);
		m->attr = defaults[i].attr;
		m->optional = defaults[i].optional;
		if (defaults[i].options)
			blob_more(&b->blob, &m->options, defaults[i].options);
		if (m->kind == MOUNT_DEVPTS)
			blob_more(&b->blob, &m->options, "ptmxmode=0666");
	}
}

/* The host's root: places for writing that are always fresh, and its secrets' directories empty. */
static void add_host_root(struct bundle *b)
{
	static const struct {
		const char *target, *mode;
		bool secret;
	} places[] = {
		{"/run", "mode=0755", false},
		{"/tmp", "mode=1777", false},
		{"/root", "mode=0700", true},
		{"/home", "mode=0755", true},
		{"/var/lib", "mode=0755", true},
		{"/var/log", "mode=0755", true},
		{"/var/backups", "mode=0755", true},
		{"/var/spool", "mode=0755", true},
		{"/boot", "mode=0755", true},
	};

	for (size_t i = 0; i < array_size(places); i++) {
		struct sandbox_mount *m;

		if (places[i].secret && (b->set->flags & SETTINGS_HOST_FILES))
			continue;
		m = list_add(MOUNT_TMPFS, places[i].target);
		m->attr = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
		blob_more(&b->blob, &m->options, places[i].mode);
	}
}

int bundle_root(struct bundle *b)
{
	const char *path = "";
	bool readonly = false;
	struct node root;
	char full[4096];
	int r = node_object(&b->root, "root", &root);

	if (r == 1 && (node_string(&root, "path", &path) < 0 ||
			      node_bool(&root, "readonly", &readonly) < 0))
		return -EINVAL;
	if (r < 0)
		return r;
	if (readonly)
		b->head.flags |= SANDBOX_READONLY;
	if (b->plan.flags & PLAN_NO_NEW_PRIVS)
		b->head.flags |= SANDBOX_ROOT_NOSUID;
	if (b->set->flags & SETTINGS_HOST_ROOT)
		return 0;
	if (!path[0])
		return node_fault(&b->root, "root.path", "missing (name the rootfs directory)");
	snprintf(full, sizeof(full), "%s%s%.3000s", path[0] == '/' ? "" : b->set->bundle,
		path[0] == '/' ? "" : "/", path);
	b->head.root = blob_string(&b->blob, full);
	return 0;
}

/* A mount stands before what lies below it whatever the order in config.json: only the defaults
 * could break that, so they come by parent. */
static void sort_defaults(uint32_t first, uint32_t own)
{
	uint32_t n = list.count - own;
	static struct sandbox_mount moved[SANDBOX_MOUNTS];

	/* Defaults that config.json left out go in front of its own mounts: /dev before a volume at
	 * /dev/x, /sys before /sys/fs/cgroup. One that needs an own parent (/dev/shm below a /dev
	 * of config.json's) stays behind it. */
	memcpy(moved, list.m + own, n * sizeof(*moved));
	if (list_has("/dev") && own > first) {
		bool dev_is_own = false;

		for (uint32_t i = first; i < own; i++)
			dev_is_own |= strcmp(list.target[i], "/dev") == 0;
		if (dev_is_own)
			return;
	}
	memmove(list.m + first + n, list.m + first, (own - first) * sizeof(*list.m));
	memcpy(list.m + first, moved, n * sizeof(*moved));
}

int bundle_mounts(struct bundle *b)
{
	struct node array, n;
	uint32_t first, own;
	int r = node_array(&b->root, "mounts", &array);

	list.b = b;
	list.count = 0;
	if (b->set->flags & SETTINGS_HOST_ROOT)
		add_host_root(b);
	first = list.count;
	if (r == 1 && node_count(&array) > SANDBOX_MOUNTS - 32)
		return node_fault(&array, NULL, "%zu mounts, at most %u", node_count(&array),
			SANDBOX_MOUNTS - 32);
	for (size_t i = 0; r == 1 && i < node_count(&array); i++)
		if (node_object_at(&array, i, &n) < 0 || mount_one(b, &n) < 0)
			return -EINVAL;
	own = list.count;
	add_defaults(b);
	sort_defaults(first, own);
	b->head.mounts = blob_add(&b->blob, list.m, list.count * sizeof(*list.m), list.count);
	return r < 0 ? r : 0;
}
