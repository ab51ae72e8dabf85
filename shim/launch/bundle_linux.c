/* Namespaces, id maps, devices, masked and read-only paths, sysctls of config.json. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "ipc/base/fault.h"
#include "ipc/base/mem.h"
#include "ipc/sysctl.h"
#include "shim/launch/bundle.h"

static const struct ns_type {
	const char *name;
	uint32_t flag;
	bool joinable; /* by path; the others are made new or shared with the host */
} ns_types[] = {
	{"mount", CLONE_NEWNS, false},
	{"pid", CLONE_NEWPID, false},
	{"ipc", CLONE_NEWIPC, true},
	{"uts", CLONE_NEWUTS, true},
	{"network", CLONE_NEWNET, true},
	{"user", CLONE_NEWUSER, false},
	{"cgroup", CLONE_NEWCGROUP, false},
};

static const struct ns_type *ns_find(const char *name)
{
	for (size_t i = 0; i < array_size(ns_types); i++)
		if (strcmp(ns_types[i].name, name) == 0)
			return &ns_types[i];
	return NULL;
}

static int ns_one(
	struct bundle *b, const struct node *n, struct sandbox_join *joins, uint32_t *joined)
{
	const char *type = "", *path = "";
	const struct ns_type *t;
	char clean[4096];

	if (node_string(n, "type", &type) < 0 || node_string(n, "path", &path) < 0)
		return -EINVAL;
	t = ns_find(type);
	if (!t)
		return node_fault(n, "type",
			"\"%.40s\": not supported (use mount, pid, ipc, uts, network, user, cgroup)",
			type);
	for (uint32_t i = 0; i < *joined; i++)
		if (joins[i].type == t->flag)
			return node_fault(n, "type", "\"%s\": given twice (keep one)", type);
	if (b->head.namespaces & t->flag)
		return node_fault(n, "type", "\"%s\": given twice (keep one)", type);
	if (!path[0]) {
		b->head.namespaces |= t->flag;
		return 0;
	}
	if (!t->joinable)
		return node_fault(n, "path",
			"\"%.100s\": a %s namespace can't be joined (leave the "
			"path out to make a new one)",
			path, type);
	if (bundle_path(n, "path", path, clean, sizeof(clean)) < 0)
		return -EINVAL;
	joins[*joined].path = blob_string(&b->blob, clean);
	joins[(*joined)++].type = t->flag;
	return 0;
}

static bool overlap(uint32_t a, uint32_t b, uint32_t alen, uint32_t blen)
{
	return a < (uint64_t)b + blen && b < (uint64_t)a + alen;
}

static int map_one(const struct node *n, struct sandbox_idmap *map, size_t at)
{
	uint64_t inside = 0, outside = 0, count = 0;

	if (node_uint(n, "containerID", 0, 4294967294u, &inside) < 0 ||
		node_uint(n, "hostID", 0, 4294967294u, &outside) < 0 ||
		node_uint(n, "size", 1, 4294967295u, &count) < 0)
		return -EINVAL;
	if (count == 0 || inside + count > 4294967295u || outside + count > 4294967295u)
		return node_fault(n, "size", "%llu: reaches beyond the last id 4294967294",
			(unsigned long long)count);
	map[at] = (struct sandbox_idmap){(uint32_t)inside, (uint32_t)outside, (uint32_t)count, 0};
	for (size_t i = 0; i < at; i++)
		if (overlap(map[i].inside, map[at].inside, map[i].count, map[at].count) ||
			overlap(map[i].outside, map[at].outside, map[i].count, map[at].count))
			return node_fault(n, NULL, "overlaps the entry %zu (each id once)", i);
	return 0;
}

/* Id 0 must be there: whoever builds the inside is that root. */
static int map_list(
	struct bundle *b, const struct node *linux_, const char *key, struct plan_range *ret)
{
	struct sandbox_idmap map[SANDBOX_IDMAPS];
	bool root = false, wanted = bundle_new_ns(b, CLONE_NEWUSER);
	struct node list, n;
	size_t count;
	int r = node_array(linux_, key, &list);

	if (r < 0)
		return r;
	count = r == 1 ? node_count(&list) : 0;
	if (count > 0 && !wanted)
		return node_fault(linux_, key, "needs a user namespace (add {\"type\": \"user\"})");
	if (count > SANDBOX_IDMAPS)
		return node_fault(&list, NULL, "%zu entries, at most %u", count, SANDBOX_IDMAPS);
	for (size_t i = 0; i < count; i++) {
		if (node_object_at(&list, i, &n) < 0 || map_one(&n, map, i) < 0)
			return -EINVAL;
		root |= map[i].inside == 0;
	}
	if (wanted && !root)
		return node_fault(linux_, key, "id 0 is not mapped (add {\"containerID\": 0, …})");
	*ret = blob_add(&b->blob, map, count * sizeof(*map), count);
	return 0;
}

static int ns_rules(struct bundle *b, const struct node *linux_)
{
	if (!bundle_new_ns(b, CLONE_NEWNS))
		return node_fault(
			linux_, "namespaces", "no mount namespace (add {\"type\": \"mount\"})");
	if (!bundle_new_ns(b, CLONE_NEWPID) && !(b->set->flags & SETTINGS_NO_INIT))
		return node_fault(linux_, "namespaces",
			"no pid namespace, which our init needs (add {\"type\": \"pid\"}, or use "
			"--init none)");
	b->plan.flags |= bundle_new_ns(b, CLONE_NEWPID) ? PLAN_OWN_PIDNS : 0;
	b->plan.flags |= bundle_new_ns(b, CLONE_NEWIPC) ? PLAN_OWN_IPCNS : 0;
	return 0;
}

int bundle_namespaces(struct bundle *b)
{
	struct sandbox_join joins[SANDBOX_JOINS] = {0};
	struct node linux_, list, n;
	uint32_t joined = 0;
	int r = node_object(&b->root, "linux", &linux_);

	if (r == 0)
		return node_fault(&b->root, "linux", "missing (it says which namespaces to make)");
	if (r < 0 || (r = node_array(&linux_, "namespaces", &list)) < 0)
		return r;
	for (size_t i = 0; r == 1 && i < node_count(&list); i++)
		if (node_object_at(&list, i, &n) < 0 || ns_one(b, &n, joins, &joined) < 0)
			return -EINVAL;
	b->head.joins = blob_add(&b->blob, joins, joined * sizeof(*joins), joined);
	r = ns_rules(b, &linux_);
	if (r == 0)
		r = map_list(b, &linux_, "uidMappings", &b->head.uid_map);
	return r < 0 ? r : map_list(b, &linux_, "gidMappings", &b->head.gid_map);
}

static int device_type(const struct node *n, const char *type, uint32_t *ret)
{
	if (strcmp(type, "c") == 0 || strcmp(type, "u") == 0)
		*ret = S_IFCHR;
	else if (strcmp(type, "b") == 0)
		*ret = S_IFBLK;
	else if (strcmp(type, "p") == 0)
		*ret = S_IFIFO;
	else
		return node_fault(n, "type", "\"%.20s\": not c, b, u or p", type);
	return 0;
}

/* Links of every container's /dev, and what is mounted there. */
static const char *const dev_taken[] = {"/dev/fd", "/dev/stdin", "/dev/stdout", "/dev/stderr",
	"/dev/ptmx", "/dev/core", "/dev/pts", "/dev/shm", "/dev/mqueue"};

static int device_one(struct bundle *b, const struct node *n, struct sandbox_device *d)
{
	uint64_t major = 0, minor = 0, mode = 0666, uid = 0, gid = 0;
	const char *path = "", *type = "";
	char clean[512];
	uint32_t fmt = 0;

	if (node_string(n, "path", &path) < 0 || node_string(n, "type", &type) < 0 ||
		device_type(n, type, &fmt) < 0 || node_uint(n, "major", 0, 4095, &major) < 0 ||
		node_uint(n, "minor", 0, 1048575, &minor) < 0 ||
		node_uint(n, "fileMode", 0, 0177777, &mode) < 0 ||
		node_uint(n, "uid", 0, 4294967294u, &uid) < 0 ||
		node_uint(n, "gid", 0, 4294967294u, &gid) < 0 ||
		bundle_path(n, "path", path, clean, sizeof(clean)) < 0)
		return -EINVAL;
	if (strncmp(clean, "/dev/", 5) != 0)
		return node_fault(
			n, "path", "\"%.100s\": not below /dev (nodes stand only there)", clean);
	for (size_t i = 0; i < array_size(dev_taken); i++) {
		size_t len = strlen(dev_taken[i]);

		if (strncmp(clean, dev_taken[i], len) == 0 && clean[len] == '/')
			return node_fault(n, "path", "\"%.100s\": %s is no place for nodes", clean,
				dev_taken[i]);
	}
	*d = (struct sandbox_device){
		.path = blob_string(&b->blob, clean),
		.mode = fmt | (uint32_t)(mode & 07777),
		.major = (uint32_t)major,
		.minor = (uint32_t)minor,
		.uid = (uint32_t)uid,
		.gid = (uint32_t)gid,
	};
	return 0;
}

int bundle_devices(struct bundle *b)
{
	struct sandbox_device devices[SANDBOX_DEVICES];
	struct node linux_, list, n;
	size_t count = 0;
	int r = node_object(&b->root, "linux", &linux_);

	if (r == 1)
		r = node_array(&linux_, "devices", &list);
	for (size_t i = 0; r == 1 && i < node_count(&list); i++) {
		if (i >= SANDBOX_DEVICES)
			return node_fault(&list, NULL, "more than %u of them", SANDBOX_DEVICES);
		if (node_object_at(&list, i, &n) < 0 || device_one(b, &n, &devices[i]) < 0)
			return -EINVAL;
		count++;
	}
	b->head.devices = blob_add(&b->blob, devices, count * sizeof(*devices), count);
	return r < 0 ? r : 0;
}

/* Shown to the container by default: what tells about the host or reaches into it. */
static const char *const default_masked[] = {"/proc/acpi", "/proc/asound", "/proc/interrupts",
	"/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi",
	"/proc/timer_list", "/proc/timer_stats", "/sys/firmware", "/sys/devices/virtual/powercap",
	"/sys/kernel/security"};
static const char *const default_readonly[] = {
	"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
/* Of the host's own root; the directories among its secrets are empty tmpfs (bundle_mounts.c), so
 * that volumes can still be placed below them. */
static const char *const host_masked[] = {"/etc/shadow", "/etc/shadow-", "/etc/gshadow",
	"/etc/gshadow-", "/etc/ssh/ssh_host_rsa_key", "/etc/ssh/ssh_host_dsa_key",
	"/etc/ssh/ssh_host_ecdsa_key", "/etc/ssh/ssh_host_ed25519_key", "/etc/kubernetes",
	"/etc/rancher", "/etc/ssl/private", "/etc/krb5.keytab", "/var/snap",
	"/etc/security/opasswd"};

static void add_all(struct bundle *b, struct plan_range *to, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		blob_more(&b->blob, to, list[i]);
}

/* The lists of config.json replace ours, also when empty; a missing key means ours. */
static int path_list(
	struct bundle *b, const struct node *linux_, const char *key, struct plan_range *to)
{
	struct node list;
	char clean[4096];
	int r = node_array(linux_, key, &list);

	for (size_t i = 0; r == 1 && i < node_count(&list); i++) {
		const char *s;

		if (i >= SANDBOX_PATHS / 2)
			return node_fault(&list, NULL, "more than %u paths", SANDBOX_PATHS / 2);
		if (node_string_at(&list, i, &s) < 0 ||
			bundle_path(&list, NULL, s, clean, sizeof(clean)) < 0)
			return -EINVAL;
		blob_more(&b->blob, to, clean);
	}
	return r;
}

static void mask_thermal(struct bundle *b)
{
	char path[80];

	for (unsigned i = 0; i < b->cpus && i < 1024; i++) {
		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/thermal_throttle", i);
		blob_more(&b->blob, &b->head.masked, path);
	}
}

/* Our own directories, of this and every other container: ROOT/REALM/ID is each one's place. A path
 * of fewer levels is masked itself. */
static void mask_own(struct bundle *b, const char *dir)
{
	char root[520], *slash;

	snprintf(root, sizeof(root), "%s", dir);
	for (int up = 0; up < 2; up++)
		if ((slash = strrchr(root, '/')) && slash > root && strchr(root + 1, '/'))
			*slash = '\0';
	if (root[0] == '/' && root[1])
		blob_more(&b->blob, &b->head.masked, root);
}

int bundle_paths(struct bundle *b)
{
	struct node linux_;
	int r;

	if (node_object(&b->root, "linux", &linux_) < 0)
		return -EINVAL;
	r = path_list(b, &linux_, "maskedPaths", &b->head.masked);
	if (r == 0) {
		add_all(b, &b->head.masked, default_masked, array_size(default_masked));
		mask_thermal(b);
	}
	if (r >= 0 && (b->set->flags & SETTINGS_HOST_ROOT) &&
		!(b->set->flags & SETTINGS_HOST_FILES)) {
		add_all(b, &b->head.masked, host_masked, array_size(host_masked));
		mask_own(b, b->state_dir);
		mask_own(b, b->set->log_dir);
	}
	if (r >= 0)
		r = path_list(b, &linux_, "readonlyPaths", &b->head.readonly);
	if (r == 0)
		add_all(b, &b->head.readonly, default_readonly, array_size(default_readonly));
	return r < 0 ? r : 0;
}

static int sysctl_one(void *ctx, const char *key, const struct node *value)
{
	struct bundle *b = ctx;
	uint64_t ns;
	const char *text = node_text(value);
	char path[200];

	if (sysctl_path(key, path, sizeof(path)) < 0)
		return node_fault(value, NULL, "not a sysctl's name");
	ns = sysctl_namespace(path);
	if (!ns)
		return node_fault(value, NULL, "belongs to the host (set it there)");
	if (!bundle_own_ns(b, ns))
		return node_fault(
			value, NULL, "needs a namespace of its own (%s)", namespace_name(ns));
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' && *p != '\t')
			return node_fault(value, NULL, "has a control character in it");
	if (!text[0])
		return node_fault(value, NULL, "not a non-empty string");
	blob_more(&b->blob, &b->head.sysctls, path);
	blob_more(&b->blob, &b->head.sysctls, text);
	return 0;
}

static int names(struct bundle *b)
{
	const struct {
		const char *key;
		struct plan_range *to;
	} list[] = {{"hostname", &b->head.hostname}, {"domainname", &b->head.domainname}};

	for (size_t i = 0; i < array_size(list); i++) {
		const char *s = "";
		int r = node_string(&b->root, list[i].key, &s);

		if (r < 0)
			return r;
		if (!s[0])
			continue;
		if (strlen(s) > 64)
			return node_fault(
				&b->root, list[i].key, "\"%.70s\": longer than 64 bytes", s);
		if (!bundle_new_ns(b, CLONE_NEWUTS))
			return node_fault(&b->root, list[i].key,
				"\"%s\": needs a uts namespace (add {\"type\": \"uts\"})", s);
		*list[i].to = blob_string(&b->blob, s);
	}
	return 0;
}

int bundle_sysctls(struct bundle *b)
{
	struct node linux_, list;
	int r = names(b);

	if (r == 0 && (r = node_object(&b->root, "linux", &linux_)) == 1 &&
		(r = node_object(&linux_, "sysctl", &list)) == 1)
		r = node_each(&list, sysctl_one, b);
	return r < 0 ? r : 0;
}
