/* What config.json may say and we do not do. Silence would be a lie: what changes security or
 * behaviour is refused by name with the cure, what is harmless is told as a warning. */
#include <errno.h>
#include <string.h>

#include "ipc/base/mem.h"
#include "shim/launch/bundle.h"

enum verdict { KNOWN, IGNORED, WARN, REFUSE, REFUSE_LSM };

static const struct rule {
	const char *of, *key;
	enum verdict verdict;
	const char *why;
} rules[] = {
	{"", "ociVersion", KNOWN, ""},
	{"", "process", KNOWN, ""},
	{"", "root", KNOWN, ""},
	{"", "hostname", KNOWN, ""},
	{"", "domainname", KNOWN, ""},
	{"", "mounts", KNOWN, ""},
	{"", "linux", KNOWN, ""},
	{"", "annotations", IGNORED, ""},
	{"", "hooks", REFUSE,
		"hooks are not run (remove them, and do their work before the start)"},
	{"", "vm", REFUSE, "this is for virtual machines (remove it)"},
	{"", "windows", REFUSE, "this is for another system (remove it)"},
	{"", "solaris", REFUSE, "this is for another system (remove it)"},
	{"", "zos", REFUSE, "this is for another system (remove it)"},
	{"process", "terminal", KNOWN, ""},
	{"process", "consoleSize", KNOWN, ""},
	{"process", "cwd", KNOWN, ""},
	{"process", "env", KNOWN, ""},
	{"process", "args", KNOWN, ""},
	{"process", "commandLine", IGNORED, ""},
	{"process", "user", KNOWN, ""},
	{"process", "rlimits", KNOWN, ""},
	{"process", "capabilities", KNOWN, ""},
	{"process", "noNewPrivileges", KNOWN, ""},
	{"process", "oomScoreAdj", KNOWN, ""},
	{"process", "apparmorProfile", REFUSE_LSM, "labels are not supported yet (remove it)"},
	{"process", "selinuxLabel", REFUSE_LSM, "labels are not supported yet (remove it)"},
	{"process", "scheduler", REFUSE, "not supported (use linux.resources.cpu)"},
	{"process", "ioPriority", WARN, "not supported, left as it is"},
	{"process", "execCPUAffinity", WARN, "not supported, left as it is"},
	{"linux", "namespaces", KNOWN, ""},
	{"linux", "uidMappings", KNOWN, ""},
	{"linux", "gidMappings", KNOWN, ""},
	{"linux", "devices", KNOWN, ""},
	{"linux", "cgroupsPath", KNOWN, ""},
	{"linux", "resources", KNOWN, ""},
	{"linux", "sysctl", KNOWN, ""},
	{"linux", "seccomp", KNOWN, ""},
	{"linux", "rootfsPropagation", KNOWN, ""},
	{"linux", "maskedPaths", KNOWN, ""},
	{"linux", "readonlyPaths", KNOWN, ""},
	{"linux", "mountLabel", REFUSE_LSM, "labels are not supported yet (remove it)"},
	{"linux", "intelRdt", REFUSE, "cache and bandwidth classes are not supported (remove it)"},
	{"linux", "personality", REFUSE, "not supported (remove it)"},
	{"linux", "timeOffsets", REFUSE, "time namespaces are not supported (remove it)"},
	{"linux", "netDevices", REFUSE, "not supported (move the devices by hand)"},
	{"linux", "memoryPolicy", WARN, "not supported, left as it is"},
	{"linux.resources.cpu", "shares", KNOWN, ""},
	{"linux.resources.cpu", "quota", KNOWN, ""},
	{"linux.resources.cpu", "period", KNOWN, ""},
	{"linux.resources.cpu", "cpus", KNOWN, ""},
	{"linux.resources.cpu", "mems", KNOWN, ""},
	{"linux.resources.cpu", "burst", WARN, "not supported, no burst above the quota"},
	{"linux.resources.cpu", "idle", WARN, "not supported, scheduled as usual"},
	{"linux.resources.cpu", "realtimeRuntime", WARN, "not supported, left as it is"},
	{"linux.resources.cpu", "realtimePeriod", WARN, "not supported, left as it is"},
	{"linux.resources.blockIO", "weight", KNOWN, ""},
	{"linux.resources.blockIO", "leafWeight", WARN, "not supported, has no effect"},
	{"linux.resources.blockIO", "weightDevice", WARN, "not supported, no weight per device"},
	{"linux.resources.blockIO", "throttleReadBpsDevice", WARN, "not supported, no limit"},
	{"linux.resources.blockIO", "throttleWriteBpsDevice", WARN, "not supported, no limit"},
	{"linux.resources.blockIO", "throttleReadIOPSDevice", WARN, "not supported, no limit"},
	{"linux.resources.blockIO", "throttleWriteIOPSDevice", WARN, "not supported, no limit"},
	{"linux.resources", "memory", KNOWN, ""},
	{"linux.resources", "cpu", KNOWN, ""},
	{"linux.resources", "pids", KNOWN, ""},
	{"linux.resources", "devices", KNOWN, ""},
	{"linux.resources", "unified", KNOWN, ""},
	{"linux.resources", "blockIO", KNOWN, ""},
	{"linux.resources", "hugepageLimits", WARN, "not supported, no limit on huge pages"},
	{"linux.resources", "network", WARN, "not supported, no class or priority"},
	{"linux.resources", "rdma", WARN, "not supported, no limit"},
};

struct scan {
	struct bundle *b;
	const char *of;
};

static int judge(struct scan *s, const struct rule *r, const struct node *value)
{
	if (r->verdict == KNOWN || r->verdict == IGNORED || node_empty(value))
		return 0;
	if (r->verdict == WARN || (r->verdict == REFUSE_LSM && !s->b->has_lsm)) {
		bundle_warn(s->b, "config.json: %s: %s", value->name,
			r->verdict == WARN ? r->why : "no effect, this host has no such module");
		return 0;
	}
	return node_fault(value, NULL, "%s", r->why);
}

static int member(void *ctx, const char *key, const struct node *value)
{
	struct scan *s = ctx;

	for (size_t i = 0; i < array_size(rules); i++)
		if (strcmp(rules[i].of, s->of) == 0 && strcmp(rules[i].key, key) == 0)
			return judge(s, &rules[i], value);
	if (!node_empty(value))
		bundle_warn(s->b, "config.json: %.100s: unknown, ignored", value->name);
	return 0;
}

static int scan(struct bundle *b, const char *of, const struct node *node)
{
	struct scan s = {.b = b, .of = of};

	return node_each(node, member, &s);
}

/* The group is made where the settings say; a path of another meaning would be a wish unheard. */
static int cgroups_path(const struct node *linux_)
{
	const char *path = "";

	if (node_string(linux_, "cgroupsPath", &path) < 0)
		return -EINVAL;
	if (!path[0] || (path[0] == '/' && !strchr(path, ':')))
		return 0;
	return node_fault(linux_, "cgroupsPath",
		"\"%.100s\": not an absolute path (slice:prefix:name and relative ones are not "
		"supported)",
		path);
}

static int propagation(struct bundle *b, const struct node *linux_)
{
	static const char *const same[] = {"", "private", "rprivate", "slave", "rslave"};
	const char *word = "";

	if (node_string(linux_, "rootfsPropagation", &word) < 0)
		return -EINVAL;
	for (size_t i = 0; i < array_size(same); i++)
		if (strcmp(word, same[i]) == 0)
			return 0;
	bundle_warn(b,
		"config.json: linux.rootfsPropagation: \"%.20s\": mounts are always private here",
		word);
	return 0;
}

int bundle_refuse(struct bundle *b)
{
	struct node process, linux_, resources, group;
	int r = scan(b, "", &b->root);

	if (r == 0 && (r = node_object(&b->root, "process", &process)) == 1)
		r = scan(b, "process", &process);
	if (r == 0 && (r = node_object(&b->root, "linux", &linux_)) == 1) {
		r = scan(b, "linux", &linux_);
		if (r == 0 && (r = cgroups_path(&linux_)) == 0)
			r = propagation(b, &linux_);
		if (r == 0 && (r = node_object(&linux_, "resources", &resources)) == 1)
			r = scan(b, "linux.resources", &resources);
		if (r == 0 && (r = node_object(&resources, "cpu", &group)) == 1)
			r = scan(b, "linux.resources.cpu", &group);
		if (r == 0 && (r = node_object(&resources, "blockIO", &group)) == 1)
			r = scan(b, "linux.resources.blockIO", &group);
	}
	return r < 0 ? r : 0;
}
