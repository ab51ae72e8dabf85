/* The container's cgroups: one group at settings.cgroup in the v2 tree (kill, freeze, pressure, and
 * whatever controllers it has) and in each v1 hierarchy whose limit or counter is wanted, no more:
 * every further one costs a write to cgroup.procs (about 11 ms when the kernel's RCU is cold). */
#include "shim/launch/groups.h"

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
#include "shim/launch/limits.h"
#include "shim/launch/mnt.h"
#include "shim/launch/recipe.h"

/* Which controller each kind of group is for, and whether this container wants it. */
static const struct group_rule {
	enum cg_controller controller;
	const char *what; /* names the wish in a complaint */
} group_rules[GROUPS] = {
	[GROUP_MEMORY] = {CG_MEMORY, "memory"},
	[GROUP_CPU] = {CG_CPU, "cpu"},
	[GROUP_PIDS] = {CG_PIDS, "pids"},
	[GROUP_CPUSET] = {CG_CPUSET, "cpuset"},
	[GROUP_BLKIO] = {CG_BLKIO, "io"},
	[GROUP_DEVICES] = {CG_DEVICES, "devices"},
};

/* 1: is wanted on v1; 0: not there or not wanted; a missing controller for a limit is a fault. */
static int choose(struct launch *l, int kind)
{
	const struct group_rule *rule = &group_rules[kind];
	const struct cg_place *at = &l->hier.at[rule->controller];

	if (kind == GROUP_DEVICES) /* only where the v2 tree can't do it with a BPF program */
		return !l->hier.unified[0] && at->root[0] && !at->v2;
	if (!at->root[0] && limits_want(l, kind))
		return fault_plain(-EOPNOTSUPP,
			"this host has no cgroup controller \"%s\", which the %s limit needs (leave "
			"the limit out, or enable the controller)",
			rule->what, rule->what);
	/* memory: always, for the OOM counter */
	return at->root[0] && !at->v2 && (kind == GROUP_MEMORY || limits_want(l, kind));
}

/* A group that is there already: an empty leftover is replaced by a fresh one, somebody's is not
 * touched. */
static int replace(struct launch *l, int root, const char *rel, const char *full)
{
	int r = step_keeper(l); /* else the next launch may have made it, and not entered it yet */
	char path[400], procs[64];
	ssize_t n;

	if (r < 0)
		return r;
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
	static const struct {
		enum cg_controller controller;
		const char *word;
	} words[] = {{CG_MEMORY, "+memory"}, {CG_CPU, "+cpu"}, {CG_PIDS, "+pids"},
		{CG_CPUSET, "+cpuset"}, {CG_BLKIO, "+io"}};
	char path[400];

	snprintf(path, sizeof(path), "%s%scgroup.subtree_control", dir, dir[0] ? "/" : "");
	for (size_t i = 0; i < array_size(words); i++) /* what is missing is found at its limit */
		if (l->hier.at[words[i].controller].v2)
			file_write(root, path, words[i].word);
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
		r = replace(l, root, rel, full);
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

static bool wants_view(const struct launch *l)
{
	const struct sandbox_mount *m = sandbox_range(l->sb, l->sb->mounts, sizeof(*m));

	for (uint32_t i = 0; i < l->sb->mounts.count; i++)
		if (m[i].kind == MOUNT_CGROUP)
			return true;
	return false;
}

/* Beside the build, unless the child needs them earlier: a controller of the v2 tree has to limit
 * it from its birth, and a view of its groups is one of its mounts. */
static enum step_when when(const struct launch *l)
{
	if (!l->hier.unified[0] || wants_view(l))
		return STEP_GROUPS_FIRST;
	for (int kind = GROUP_MEMORY; kind < GROUPS; kind++)
		if (group_on_v2(l, kind))
			return STEP_GROUPS_FIRST;
	return STEP_GROUPS_BESIDE;
}

int step_groups(struct launch *l)
{
	int r = 0;

	l->groups = when(l);
	if (l->hier.unified[0]) {
		memcpy(l->group[GROUP_V2].root, l->hier.unified, sizeof(l->hier.unified));
		r = make_group(l, &l->group[GROUP_V2], true);
	}
	return r < 0 || l->groups == STEP_GROUPS_BESIDE ? r : step_groups_v1(l);
}

int step_groups_v1(struct launch *l)
{
	int r = 0;

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

int group_dir(const struct launch *l, enum cg_kind kind)
{
	if (l->group[kind].dir >= 0)
		return l->group[kind].dir;
	return group_on_v2(l, kind) ? l->group[GROUP_V2].dir : -1;
}

bool group_on_v2(const struct launch *l, enum cg_kind kind)
{
	return l->hier.at[group_rules[kind].controller].v2;
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
static int oom_event(struct launch *l, int dir, int control, enum plan_fd at)
{
	l->counters[at] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->counters[at] < 0)
		return fault(-errno, "eventfd");
	if (file_writef(dir, "cgroup.event_control", "%d %d", l->counters[at], control) < 0) {
		launch_warn(l, "memory: this kernel sends no OOM events (seen at the next exit)");
		fd_close(&l->counters[at]);
	}
	return 0;
}

/* The kernel tells the group that has run out, and all below it: who listens at the group above as
 * well knows which of the two it was. */
static int oom_events(struct launch *l, int dir)
{
	auto_fd above = openat(dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_fd control =
		above < 0 ? -1 : openat(above, "memory.oom_control", O_RDONLY | O_CLOEXEC);
	int r = oom_event(l, dir, l->counters[PLAN_FD_MEM], PLAN_FD_OOM_EVENT);

	if (r < 0 || control < 0)
		return r;
	return oom_event(l, above, control, PLAN_FD_OOM_AROUND);
}

/* What init reads after each exit; a host that lacks one just gives less to read. */
int step_counters(struct launch *l)
{
	int v2 = l->group[GROUP_V2].dir, mem = group_dir(l, GROUP_MEMORY);
	bool mem_v2 = group_on_v2(l, GROUP_MEMORY);

	counter(l, PLAN_FD_MEM, mem, mem_v2 ? "memory.events" : "memory.oom_control");
	counter(l, PLAN_FD_CPU, l->group[GROUP_CPU].dir >= 0 ? l->group[GROUP_CPU].dir : v2,
		"cpu.stat");
	counter(l, PLAN_FD_PIDS, group_dir(l, GROUP_PIDS), "pids.events");
	counter(l, PLAN_FD_PRESSURE, v2, "memory.pressure");
	if (launch_flag(l, SETTINGS_NO_INIT) || mem_v2 || l->counters[PLAN_FD_MEM] < 0)
		return 0;
	return oom_events(l, mem);
}

/* The container sees its own groups only, read-only, whatever it could do to a mount of the whole:
 * v1's release_agent and the limits themselves are out of reach. */
int step_group_view(struct launch *l)
{
	bool wanted = wants_view(l);
	int r = 0;

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
