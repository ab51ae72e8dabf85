/* The container's cgroups: one group at settings.cgroup in the v2 tree (kill, freeze, pressure, and
 * whatever controllers it has) and in each v1 hierarchy whose limit or counter is wanted, no more:
 * every further one costs a write to cgroup.procs (about 11 ms when the kernel's RCU is cold). */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"
#include "ipc/base/mem.h"
#include "shim/launch/devrules.h"
#include "shim/launch/launch.h"
#include "shim/launch/mnt.h"
#include "shim/launch/recipe.h"

static bool capped(const struct launch *l, enum limit_id id)
{
	return l->sb->limits.value[id] < LIMIT_UNGIVEN;
}

/* Which controller each kind of group is for, and whether this container wants it. */
static const struct group_rule {
	enum cg_controller controller;
	const char *what; /* names the wish in a complaint */
} group_rules[GROUPS] = {
	[GROUP_MEMORY] = {CG_MEMORY, "memory"},
	[GROUP_CPU] = {CG_CPU, "cpu"},
	[GROUP_PIDS] = {CG_PIDS, "pids"},
	[GROUP_CPUSET] = {CG_CPUSET, "cpuset"},
	[GROUP_DEVICES] = {CG_DEVICES, "devices"},
};

static bool limited(const struct launch *l, int kind)
{
	switch (kind) {
	case GROUP_MEMORY:
		return capped(l, LIMIT_MEM) || capped(l, LIMIT_MEM_SWAP) ||
		       capped(l, LIMIT_MEM_RESERVE);
	case GROUP_CPU:
		return capped(l, LIMIT_CPU_QUOTA) || capped(l, LIMIT_CPU_SHARES);
	case GROUP_PIDS:
		return capped(l, LIMIT_PIDS);
	case GROUP_CPUSET:
		return l->sb->limits.cpuset_cpus.count || l->sb->limits.cpuset_mems.count;
	default:
		return false;
	}
}

/* 1: is wanted on v1; 0: not there or not wanted; a missing controller for a limit is a fault. */
static int choose(struct launch *l, int kind)
{
	const struct group_rule *rule = &group_rules[kind];
	const struct cg_place *at = &l->hier.at[rule->controller];

	if (kind == GROUP_DEVICES) /* only where the v2 tree can't do it with a BPF program */
		return !l->hier.unified[0] && at->root[0] && !at->v2;
	if (!at->root[0] && limited(l, kind))
		return fault_plain(-EOPNOTSUPP,
			"this host has no cgroup controller \"%s\", which the %s limit needs (leave "
			"the limit out, or enable the controller)",
			rule->what, rule->what);
	/* memory: always, for the OOM counter */
	return at->root[0] && !at->v2 && (kind == GROUP_MEMORY || limited(l, kind));
}

/* A group that is there already: an empty leftover is replaced by a fresh one, somebody's is not
 * touched. */
static int replace(int root, const char *rel, const char *full)
{
	char path[400], procs[64];
	ssize_t n;

	if (unlinkat(root, rel, AT_REMOVEDIR) == 0)
		return mkdirat(root, rel, 0755) == 0 ? 0 : fault(-errno, "cgroup %s", full);
	if (errno != EBUSY && errno != ENOTEMPTY)
		return fault(-errno, "cgroup %s: replace", full);
	snprintf(path, sizeof(path), "%s/cgroup.procs", rel);
	n = file_read_buf(root, path, procs, sizeof(procs));
	procs[n > 0 ? strcspn(procs, "\n") : 0] = '\0';
	if (n > 0)
		return fault_plain(-EBUSY,
			"cgroup %s is in use: process %s runs in it (end it, or "
			"choose another name)",
			full, procs);
	return fault_plain(-EBUSY,
		"cgroup %s is in use: it has groups of its own below it (remove "
		"them)",
		full);
}

/* On pure v2 every level must pass the controllers on before the next can have their files. */
static void pass_on(struct launch *l, int root, const char *dir)
{
	static const char *const words[] = {"+memory", "+cpu", "+pids", "+cpuset", "+io"};
	char path[400];

	snprintf(path, sizeof(path), "%s%scgroup.subtree_control", dir, dir[0] ? "/" : "");
	for (size_t i = 0; i < array_size(words); i++) /* what is missing is found at its limit */
		file_write(root, path, words[i]);
}

static int make_group(struct launch *l, struct cg_group *g, bool v2)
{
	const char *rel = l->set.cgroup + strspn(l->set.cgroup, "/");
	auto_fd root = open(g->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char full[400], dir[256];
	int r;

	if (root < 0)
		return fault(-errno, "cgroup %s", g->root);
	if (!rel[0] || strstr(rel, ".."))
		return fault_plain(
			-EINVAL, "cgroup \"%s\": not a path below the root", l->set.cgroup);
	snprintf(full, sizeof(full), "%s/%s", g->root, rel);
	if (v2)
		pass_on(l, root, "");
	for (const char *p = strchr(rel, '/'); p; p = strchr(p + 1, '/')) {
		snprintf(dir, sizeof(dir), "%.*s", (int)(p - rel), rel);
		if (mkdirat(root, dir, 0755) != 0 && errno != EEXIST)
			return fault(-errno, "cgroup %s/%s", g->root, dir);
		if (v2)
			pass_on(l, root, dir);
	}
	r = mkdirat(root, rel, 0755) == 0 ? 0 : -errno;
	if (r == -EEXIST)
		r = replace(root, rel, full);
	else if (r < 0)
		return fault(r, "cgroup %s", full);
	if (r < 0)
		return r;
	g->dir = openat(root, rel, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return g->dir < 0 ? fault(-errno, "cgroup %s", full) : 0;
}

/* Two controllers of one v1 hierarchy (cpu,cpuset mounted together) share a group. */
static struct cg_group *same_root(struct launch *l, int kind)
{
	for (int i = 0; i < kind; i++)
		if (l->group[i].dir >= 0 && strcmp(l->group[i].root, l->group[kind].root) == 0)
			return &l->group[i];
	return NULL;
}

int step_groups(struct launch *l)
{
	int r = cghier_find(&l->hier);

	if (r < 0)
		return r;
	if (l->hier.unified[0]) {
		memcpy(l->group[GROUP_V2].root, l->hier.unified, sizeof(l->hier.unified));
		r = make_group(l, &l->group[GROUP_V2], true);
	}
	for (int kind = GROUP_MEMORY; r >= 0 && kind < GROUPS; kind++) {
		struct cg_group *g = &l->group[kind];

		r = choose(l, kind);
		if (r != 1)
			continue;
		memcpy(g->root, l->hier.at[group_rules[kind].controller].root, sizeof(g->root));
		if (same_root(l, kind)) {
			g->dir = fcntl(same_root(l, kind)->dir, F_DUPFD_CLOEXEC, 3);
			g->entered = true; /* with the other */
		} else {
			r = make_group(l, g, false);
		}
	}
	return r < 0 ? r : 0;
}

/* The directory that has the controller's files; < 0: the host has none. */
static int dir_of(const struct launch *l, int kind)
{
	if (l->group[kind].dir >= 0)
		return l->group[kind].dir;
	return l->hier.at[group_rules[kind].controller].v2 ? l->group[GROUP_V2].dir : -1;
}

static bool on_v2(const struct launch *l, int kind)
{
	return l->hier.at[group_rules[kind].controller].v2;
}

static int put(int dir, const char *file, uint64_t value)
{
	if (value == LIMIT_NONE)
		return file_write(dir, file, "max");
	return file_writef(dir, file, "%llu", (unsigned long long)value);
}

static int memory_v1(struct launch *l, int dir, const uint64_t *v)
{
	int r = 0;

	if (capped(l, LIMIT_MEM))
		r = put(dir, "memory.limit_in_bytes", v[LIMIT_MEM]);
	if (r == 0 && capped(l, LIMIT_MEM_RESERVE))
		r = put(dir, "memory.soft_limit_in_bytes", v[LIMIT_MEM_RESERVE]);
	if (r < 0 || !capped(l, LIMIT_MEM_SWAP))
		return r;
	/* the file exists only with swap accounting; without it there is nothing to limit */
	if (faccessat(dir, "memory.memsw.limit_in_bytes", F_OK, 0) != 0) {
		launch_warn(l, "memory.swap: this host does not account swap, no limit on it");
		return 0;
	}
	return put(dir, "memory.memsw.limit_in_bytes", v[LIMIT_MEM_SWAP]);
}

static int memory_v2(struct launch *l, int dir, const uint64_t *v)
{
	int r = 0;

	if (capped(l, LIMIT_MEM))
		r = put(dir, "memory.max", v[LIMIT_MEM]);
	if (r == 0 && capped(l, LIMIT_MEM_RESERVE))
		r = put(dir, "memory.low", v[LIMIT_MEM_RESERVE]);
	if (r < 0 || !capped(l, LIMIT_MEM_SWAP))
		return r;
	if (!capped(l, LIMIT_MEM)) /* v2 counts swap alone: the sum minus nothing known */
		return fault_plain(-EINVAL,
			"linux.resources.memory.swap: needs memory.limit on this host (give it)");
	if (faccessat(dir, "memory.swap.max", F_OK, 0) != 0) {
		launch_warn(l, "memory.swap: this host does not account swap, no limit on it");
		return 0;
	}
	return put(dir, "memory.swap.max", v[LIMIT_MEM_SWAP] - v[LIMIT_MEM]);
}

static int cpu_v1(struct launch *l, int dir, const uint64_t *v)
{
	int r = 0;

	if (capped(l, LIMIT_CPU_PERIOD)) /* before the quota, which must fit it */
		r = put(dir, "cpu.cfs_period_us", v[LIMIT_CPU_PERIOD]);
	if (r == 0 && capped(l, LIMIT_CPU_QUOTA))
		r = put(dir, "cpu.cfs_quota_us", v[LIMIT_CPU_QUOTA]);
	if (r == 0 && capped(l, LIMIT_CPU_SHARES))
		r = put(dir, "cpu.shares", v[LIMIT_CPU_SHARES]);
	return r;
}

/* Shares 2..262144 become weight 1..10000 in a straight line, as runtimes agree on. */
static int cpu_v2(struct launch *l, int dir, const uint64_t *v)
{
	uint64_t period = capped(l, LIMIT_CPU_PERIOD) ? v[LIMIT_CPU_PERIOD] : 100000;
	uint64_t weight = 1 + (v[LIMIT_CPU_SHARES] - 2) * 9999 / 262142;
	int r = 0;

	if (capped(l, LIMIT_CPU_QUOTA))
		r = file_writef(dir, "cpu.max", "%llu %llu", (unsigned long long)v[LIMIT_CPU_QUOTA],
			(unsigned long long)period);
	if (r == 0 && capped(l, LIMIT_CPU_SHARES))
		r = put(dir, "cpu.weight", weight);
	return r;
}

/* v1 refuses the first process of a group whose cpus or mems are empty: inherited where not given.
 */
static int cpuset(struct launch *l, int dir, bool v2)
{
	const struct {
		const char *file;
		struct plan_range value;
	} sets[] = {{"cpuset.cpus", l->sb->limits.cpuset_cpus},
		{"cpuset.mems", l->sb->limits.cpuset_mems}};
	char path[64], value[1024];
	int r = 0;

	for (size_t i = 0; r == 0 && i < array_size(sets); i++) {
		snprintf(value, sizeof(value), "%.1000s", sandbox_string(l->sb, sets[i].value));
		if (!value[0] && v2)
			continue;
		for (int up = 1; !value[0] && up < 8; up++) {
			int n = snprintf(path, sizeof(path), "%.*s%s", up * 3,
				"../../../../../../../../", sets[i].file);
			if (n < 0 || file_read_buf(dir, path, value, sizeof(value)) < 0)
				break;
			value[strcspn(value, "\n")] = '\0';
		}
		r = file_write(dir, sets[i].file, value);
	}
	return r;
}

static int unified(struct launch *l)
{
	struct sandbox_walk w = sandbox_walk(l->sb, l->sb->limits.unified);
	int dir = l->group[GROUP_V2].dir, r = 0;

	for (const char *key; r == 0 && (key = sandbox_next(&w));) {
		const char *value = sandbox_next(&w);

		if (dir < 0 || faccessat(dir, key, F_OK, AT_SYMLINK_NOFOLLOW) != 0)
			return fault_plain(-EOPNOTSUPP,
				"linux.resources.unified \"%s\": this host's v2 tree has no such file "
				"(its controller is on v1 or missing)",
				key);
		r = file_write(dir, key, value ? value : "");
	}
	return r;
}

int step_limits(struct launch *l)
{
	const uint64_t *v = l->sb->limits.value;
	int dir = dir_of(l, GROUP_MEMORY), r = 0;

	if (limited(l, GROUP_MEMORY))
		r = on_v2(l, GROUP_MEMORY) ? memory_v2(l, dir, v) : memory_v1(l, dir, v);
	dir = dir_of(l, GROUP_CPU);
	if (r == 0 && limited(l, GROUP_CPU))
		r = on_v2(l, GROUP_CPU) ? cpu_v2(l, dir, v) : cpu_v1(l, dir, v);
	if (r == 0 && limited(l, GROUP_PIDS))
		r = put(dir_of(l, GROUP_PIDS), "pids.max", v[LIMIT_PIDS]);
	if (r == 0 && limited(l, GROUP_CPUSET))
		r = cpuset(l, dir_of(l, GROUP_CPUSET), on_v2(l, GROUP_CPUSET));
	return r == 0 ? unified(l) : r;
}

/* The v1 group that choose() leaves out where BPF is expected to do. */
static int devices_v1(struct launch *l)
{
	struct cg_group *g = &l->group[GROUP_DEVICES];
	const struct cg_place *at = &l->hier.at[CG_DEVICES];
	int r;

	if (g->dir < 0) {
		memcpy(g->root, at->root, sizeof(g->root));
		r = make_group(l, g, false);
		if (r < 0)
			return r;
	}
	return devrules_write(l, g->dir);
}

static bool may_make_nodes(const struct launch *l)
{
	return l->in.plan->caps.bounding >> CAP_MKNOD & 1 &&
	       prctl(PR_CAPBSET_READ, CAP_MKNOD, 0, 0, 0) == 1;
}

/* A BPF program on the v2 group, also on hybrid hosts: no v1 hierarchy to enter for it. Else v1's
 * own controller; else nothing but nodev and the missing CAP_MKNOD keeps devices closed, and the
 * latter had better be missing. */
int step_devices_rule(struct launch *l)
{
	const struct cg_place *at = &l->hier.at[CG_DEVICES];
	int v2 = l->group[GROUP_V2].dir, r = v2 >= 0 ? devrules_attach(l, v2) : DEVRULES_NO_BPF;
	int err = errno;

	if (r != DEVRULES_NO_BPF)
		return r;
	if (at->root[0] && !at->v2)
		return devices_v1(l);
	if (may_make_nodes(l))
		return fault_plain(-EOPNOTSUPP,
			"this host can't fence devices off (%s; no v1 devices controller), and with "
			"CAP_MKNOD the service could open any (leave the capability out)",
			v2 >= 0 ? strerror(err) : "no cgroup v2 tree for a BPF program");
	launch_warn(l,
		"devices: this host loads no BPF program (%s): only missing CAP_MKNOD and nodev "
		"keep devices closed",
		v2 >= 0 ? strerror(err) : "no cgroup v2 tree");
	return 0;
}

static void counter(struct launch *l, enum plan_fd at, int dir, const char *file)
{
	if (dir >= 0)
		l->counters[at] = openat(dir, file, O_RDONLY | O_CLOEXEC);
}

/* v1 tells of an OOM by an eventfd registered on memory.oom_control (cgroup-v1/memory.rst). */
static int oom_event(struct launch *l, int dir)
{
	int control = l->counters[PLAN_FD_MEM];

	l->counters[PLAN_FD_OOM_EVENT] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->counters[PLAN_FD_OOM_EVENT] < 0)
		return fault(-errno, "eventfd");
	if (file_writef(dir, "cgroup.event_control", "%d %d", l->counters[PLAN_FD_OOM_EVENT],
		    control) < 0) {
		launch_warn(l, "memory: this kernel sends no OOM events (seen at the next exit)");
		fd_close(&l->counters[PLAN_FD_OOM_EVENT]);
	}
	return 0;
}

/* What init reads after each exit; a host that lacks one just gives less to read. */
int step_counters(struct launch *l)
{
	int v2 = l->group[GROUP_V2].dir, mem = dir_of(l, GROUP_MEMORY);
	bool mem_v2 = on_v2(l, GROUP_MEMORY);

	counter(l, PLAN_FD_MEM, mem, mem_v2 ? "memory.events" : "memory.oom_control");
	counter(l, PLAN_FD_CPU, l->group[GROUP_CPU].dir >= 0 ? l->group[GROUP_CPU].dir : v2,
		"cpu.stat");
	counter(l, PLAN_FD_PIDS, dir_of(l, GROUP_PIDS), "pids.events");
	counter(l, PLAN_FD_PRESSURE, v2, "memory.pressure");
	if (launch_flag(l, SETTINGS_NO_INIT) || mem_v2 || l->counters[PLAN_FD_MEM] < 0)
		return 0;
	return oom_event(l, mem);
}

/* The container sees its own groups only, read-only, whatever it could do to a mount of the whole:
 * v1's release_agent and the limits themselves are out of reach. */
int step_group_view(struct launch *l)
{
	const struct sandbox_mount *m = sandbox_range(l->sb, l->sb->mounts, sizeof(*m));
	bool wanted = false;
	int r = 0;

	for (uint32_t i = 0; i < l->sb->mounts.count; i++)
		wanted |= m[i].kind == MOUNT_CGROUP;
	for (int i = 0; wanted && r == 0 && i < GROUPS; i++) {
		struct cg_group *g = &l->group[i];

		/* by path, not by descriptor: it belongs to the mount namespace that we left */
		char path[512];

		if (g->dir < 0 || (i != GROUP_V2 && same_root(l, i)))
			continue;
		snprintf(path, sizeof(path), "%s%s", g->root, l->set.cgroup);
		g->view = mnt_clone(AT_FDCWD, path, false);
		if (g->view < 0)
			return fault(g->view, "cgroup %s: clone its mount", path);
		r = mnt_attr(g->view,
			MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
				MOUNT_ATTR_NOEXEC,
			0, false);
		if (r < 0)
			return fault(r, "cgroup %s: read-only", path);
	}
	return r;
}

/* Back to back: the first write waits for the kernel's RCU, the next ones find it hot. */
int step_enter_groups(struct launch *l)
{
	for (int i = GROUP_MEMORY; i < GROUPS; i++) {
		int r;

		if (l->group[i].dir < 0 || l->group[i].entered)
			continue;
		r = file_writef(l->group[i].dir, "cgroup.procs", "%d", l->pid);
		if (r == -ESRCH)
			return 0; /* dead already: the next step hears what of */
		if (r < 0)
			return r;
	}
	return 0;
}
