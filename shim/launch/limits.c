/* Limits into the groups' files, each controller as the tree that has it wants it. What was asked
 * for by name and can't be had is a fault that says so. */
#include "shim/launch/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/file.h"
#include "ipc/base/mem.h"
#include "shim/launch/groups.h"
#include "shim/launch/recipe.h"

static bool capped(const struct launch *l, enum limit_id id)
{
	return l->sb->limits.value[id] < LIMIT_UNGIVEN;
}

bool limits_want(const struct launch *l, int kind)
{
	switch (kind) {
	case GROUP_MEMORY:
		return capped(l, LIMIT_MEM) || capped(l, LIMIT_MEM_SWAP) ||
		       capped(l, LIMIT_MEM_RESERVE);
	case GROUP_CPU:
		return capped(l, LIMIT_CPU_QUOTA) || capped(l, LIMIT_CPU_SHARES) ||
		       capped(l, LIMIT_CPU_WEIGHT) || capped(l, LIMIT_CPU_IDLE);
	case GROUP_PIDS:
		return capped(l, LIMIT_PIDS);
	case GROUP_CPUSET:
		return l->sb->limits.cpuset_cpus.count || l->sb->limits.cpuset_mems.count;
	case GROUP_BLKIO:
		return capped(l, LIMIT_IO_WEIGHT) ||
		       (capped(l, LIMIT_BLKIO_WEIGHT) && l->hier.at[CG_BLKIO].root[0]);
	default:
		return false;
	}
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

static uint64_t at_least(uint64_t least, uint64_t value)
{
	return value < least ? least : value;
}

/* The kernel refuses a weight of a group that is idle (Documentation/admin-guide/cgroup-v2.rst). */
static bool weighed(const struct launch *l)
{
	return !capped(l, LIMIT_CPU_IDLE) &&
	       (capped(l, LIMIT_CPU_SHARES) || capped(l, LIMIT_CPU_WEIGHT));
}

static int cpu_v1(struct launch *l, int dir, const uint64_t *v)
{
	int r = 0;

	if (capped(l, LIMIT_CPU_PERIOD)) /* before the quota, which must fit it */
		r = put(dir, "cpu.cfs_period_us", v[LIMIT_CPU_PERIOD]);
	if (r == 0 && capped(l, LIMIT_CPU_QUOTA))
		r = put(dir, "cpu.cfs_quota_us", v[LIMIT_CPU_QUOTA]);
	if (r == 0 && capped(l, LIMIT_CPU_IDLE))
		r = put(dir, "cpu.idle", 1);
	if (r < 0 || !weighed(l))
		return r;
	/* a group that nobody weighed has 1024 shares here and weight 100 there */
	if (capped(l, LIMIT_CPU_WEIGHT))
		return put(dir, "cpu.shares", at_least(2, v[LIMIT_CPU_WEIGHT] * 1024 / 100));
	return put(dir, "cpu.shares", v[LIMIT_CPU_SHARES]);
}

/* Shares 2..262144 become weight 1..10000 in a straight line, as runtimes agree on. */
static int cpu_v2(struct launch *l, int dir, const uint64_t *v)
{
	uint64_t period = capped(l, LIMIT_CPU_PERIOD) ? v[LIMIT_CPU_PERIOD] : 100000;
	uint64_t weight = capped(l, LIMIT_CPU_WEIGHT)
				  ? v[LIMIT_CPU_WEIGHT]
				  : 1 + (v[LIMIT_CPU_SHARES] - 2) * 9999 / 262142;
	int r = 0;

	if (capped(l, LIMIT_CPU_QUOTA))
		r = file_writef(dir, "cpu.max", "%llu %llu", (unsigned long long)v[LIMIT_CPU_QUOTA],
			(unsigned long long)period);
	if (r == 0 && capped(l, LIMIT_CPU_IDLE))
		r = put(dir, "cpu.idle", 1);
	if (r == 0 && weighed(l))
		r = put(dir, "cpu.weight", weight);
	return r;
}

/* v1 refuses the first process of a group whose cpus or mems are empty, and any CPU that the group
 * above lacks: whatever is empty on the way down takes what stands above it. */
static int cpuset_inherit(const struct launch *l, int dir, const char *file)
{
	const char *rel = l->set.cgroup + strspn(l->set.cgroup, "/");
	char above[3 * sizeof(l->set.cgroup) + 32], value[1024];
	const char *own = above + 3;
	size_t levels = 1;
	int r = 0;

	for (const char *p = rel; (p = strchr(p, '/')); p++)
		levels++;
	for (; r == 0 && levels > 0; levels--) {
		for (size_t i = 0; i < levels; i++)
			memcpy(above + 3 * i, "../", 3);
		snprintf(above + 3 * levels, 32, "%s", file);
		if (file_read_buf(dir, own, value, sizeof(value)) > 1)
			continue; /* more than its newline */
		r = (int)file_read_buf(dir, above, value, sizeof(value));
		if (r < 0)
			return r;
		value[strcspn(value, "\n")] = '\0';
		r = file_write(dir, own, value);
	}
	return r;
}

static int cpuset(struct launch *l, int dir, bool v2)
{
	const struct {
		const char *file;
		struct plan_range value;
	} sets[] = {{"cpuset.cpus", l->sb->limits.cpuset_cpus},
		{"cpuset.mems", l->sb->limits.cpuset_mems}};
	int r = 0;

	for (size_t i = 0; r == 0 && i < array_size(sets); i++) {
		const char *value = sandbox_string(l->sb, sets[i].value);

		r = v2 ? 0 : cpuset_inherit(l, dir, sets[i].file);
		if (r < 0 || !value[0])
			continue;
		r = file_write(dir, sets[i].file, value);
		if (r < 0)
			return fault(r,
				"%s \"%.100s\": this host, or the group above, has not all of "
				"them",
				sets[i].file, value);
	}
	return r;
}

/* BFQ weighs from 1 to 1000 in both trees; 100 is everybody's there, too. */
static uint64_t bfq_weight(uint64_t weight)
{
	return weight <= 100 ? weight : 100 + (weight - 100) * 900 / 9900;
}

static int put_if_there(int dir, const char *file, uint64_t value, bool *there)
{
	if (faccessat(dir, file, F_OK, 0) != 0)
		return 0;
	*there = true;
	return put(dir, file, value);
}

/* Whichever I/O schedulers are there: each of them has a file of its own. */
static int io(struct launch *l, int dir, bool v2)
{
	bool given = capped(l, LIMIT_IO_WEIGHT), there = false;
	uint64_t old = l->sb->limits.value[LIMIT_BLKIO_WEIGHT];
	uint64_t weight =
		given ? l->sb->limits.value[LIMIT_IO_WEIGHT] : 1 + (old - 10) * 9999 / 990;
	uint64_t bfq = given ? bfq_weight(weight) : old;
	int r = put_if_there(dir, v2 ? "io.bfq.weight" : "blkio.bfq.weight", bfq, &there);

	if (r == 0 && v2)
		r = put_if_there(dir, "io.weight", weight, &there);
	if (r == 0 && !v2)
		r = put_if_there(dir, "blkio.weight", given ? at_least(10, bfq) : old, &there);
	if (r < 0 || there)
		return r;
	if (given)
		return fault_plain(-EOPNOTSUPP,
			"io.weight: this kernel has neither the I/O cost model nor the BFQ scheduler, "
			"which weigh (leave the weight out, or load BFQ: modprobe bfq)");
	launch_warn(l, "blockIO.weight: no I/O scheduler of this host weighs, left as it is");
	return 0;
}

static int no_file(const struct launch *l, const char *key)
{
	static const struct {
		const char *name;
		enum cg_controller controller;
	} controllers[] = {{"memory", CG_MEMORY}, {"cpu", CG_CPU}, {"cpuset", CG_CPUSET},
		{"pids", CG_PIDS}, {"io", CG_BLKIO}};
	size_t n = strcspn(key, ".");

	for (size_t i = 0; i < array_size(controllers); i++) {
		const struct cg_place *at = &l->hier.at[controllers[i].controller];

		if (strlen(controllers[i].name) == n && strncmp(key, controllers[i].name, n) == 0 &&
			at->root[0] && !at->v2)
			return fault_plain(-EOPNOTSUPP,
				"%.100s: needs the %s controller on cgroup v2, this host has it on v1 "
				"(leave it out, or boot with systemd.unified_cgroup_hierarchy=1)",
				key, controllers[i].name);
	}
	return fault_plain(-EOPNOTSUPP,
		"%.100s: this host's cgroup v2 tree has no such file (leave it out, or enable its "
		"controller)",
		key);
}

/* With the flag the kernel would take PID 1 along. With an init it stays 0, and the group's part is
 * init's: any kill for lack of memory, then everybody's (--oom-policy). */
static bool oom_group_is_inits(struct launch *l, const char *key, const char *value)
{
	if (launch_flag(l, SETTINGS_NO_INIT) || strcmp(key, "memory.oom.group") != 0)
		return false;
	if (value[0] == '1' && l->set.policy.oom == OOM_CONTINUE)
		launch_warn(l,
			"memory.oom.group 1 of config.json: --oom-policy continue says otherwise");
	return true;
}

static int unified(struct launch *l)
{
	struct sandbox_walk w = sandbox_walk(l->sb, l->sb->limits.unified);
	int dir = l->group[GROUP_V2].dir, r = 0;

	for (const char *key; r == 0 && (key = sandbox_next(&w));) {
		const char *value = sandbox_next(&w);

		if (value && oom_group_is_inits(l, key, value))
			continue;
		if (dir < 0 || faccessat(dir, key, F_OK, AT_SYMLINK_NOFOLLOW) != 0)
			return no_file(l, key);
		r = file_write(dir, key, value ? value : "");
	}
	return r;
}

/* A v2 group has a controller's files only if each one above passes the controller on, which a
 * group that holds processes itself can't (cgroup-v2.rst: no internal processes). */
static int passed_on(const struct launch *l, int kind)
{
	static const struct {
		const char *file, *controller;
	} wants[GROUPS] = {
		[GROUP_MEMORY] = {"memory.max", "memory"},
		[GROUP_CPU] = {"cpu.weight", "cpu"},
		[GROUP_PIDS] = {"pids.max", "pids"},
		[GROUP_CPUSET] = {"cpuset.cpus", "cpuset"},
	};

	if (!wants[kind].file || !limits_want(l, kind) || !group_on_v2(l, kind) ||
		faccessat(l->group[GROUP_V2].dir, wants[kind].file, F_OK, 0) == 0)
		return 0;
	return fault_plain(-EBUSY,
		"cgroup %s does not get the %s controller: processes run in a group above it, which "
		"so can't pass it on (move them to a group of their own, or choose another path)",
		l->set.cgroup, wants[kind].controller);
}

int step_limits(struct launch *l)
{
	const uint64_t *v = l->sb->limits.value;
	int dir = group_dir(l, GROUP_MEMORY), r = 0;

	for (int kind = GROUP_MEMORY; r == 0 && kind < GROUPS; kind++)
		r = passed_on(l, kind);
	if (r < 0)
		return r;

	if (limits_want(l, GROUP_MEMORY))
		r = group_on_v2(l, GROUP_MEMORY) ? memory_v2(l, dir, v) : memory_v1(l, dir, v);
	dir = group_dir(l, GROUP_CPU);
	if (r == 0 && limits_want(l, GROUP_CPU))
		r = group_on_v2(l, GROUP_CPU) ? cpu_v2(l, dir, v) : cpu_v1(l, dir, v);
	if (r == 0 && limits_want(l, GROUP_PIDS))
		r = put(group_dir(l, GROUP_PIDS), "pids.max", v[LIMIT_PIDS]);
	if (r == 0 && limits_want(l, GROUP_CPUSET))
		r = cpuset(l, group_dir(l, GROUP_CPUSET), group_on_v2(l, GROUP_CPUSET));
	if (r == 0 && limits_want(l, GROUP_BLKIO))
		r = io(l, group_dir(l, GROUP_BLKIO), group_on_v2(l, GROUP_BLKIO));
	return r == 0 ? unified(l) : r;
}
