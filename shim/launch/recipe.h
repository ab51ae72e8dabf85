/* The recipe: two straight tables of named steps, one for the parent (launch itself), one for the
 * child that becomes PID 1. A step returns 0 or a fault; its name is what the user reads. */
#pragma once

#include <stddef.h>

struct launch;

struct step {
	const char *name;
	int (*run)(struct launch *l);
};

extern const struct step parent_steps[], child_steps[];
extern const size_t parent_step_count, child_step_count;

/* Between the two halves, over one SEQPACKET pair. */
enum sync_verb {
	SYNC_MAPPED = 1, /* parent: ids are mapped, go on */
	SYNC_BUILT,	 /* child: the inside stands */
	SYNC_GROUPED,	 /* parent: cgroups are joined, limits are set; go on */
	SYNC_TTY,	 /* child: + 1 fd, the terminal's master */
	SYNC_EXEC,	 /* child: exec comes next (or the wait for start, without init) */
	SYNC_FAIL,	 /* child: struct sync_fail, then it exits */
};

struct sync_fail {
	int err;
	char step[32];
	char text[600];
};

/* parent */
int step_exe(struct launch *l);
int step_mount_namespace(struct launch *l);
int step_join(struct launch *l);
int step_rootfs(struct launch *l);
int step_dev(struct launch *l);
int step_null(struct launch *l);
int step_binds(struct launch *l);
int step_groups(struct launch *l);
int step_limits(struct launch *l);
int step_devices_rule(struct launch *l);
int step_counters(struct launch *l);
int step_group_view(struct launch *l);
int step_plan(struct launch *l);
int step_stdio(struct launch *l);
int step_keeper(struct launch *l);
int step_clone(struct launch *l);
int step_deposit(struct launch *l);
int step_maps(struct launch *l);
int step_enter_groups(struct launch *l);
int step_watch_build(struct launch *l);
int step_inherited(struct launch *l);
int step_watch_exec(struct launch *l);

/* child */
int step_alone(struct launch *l);
int step_mapped(struct launch *l);
int step_loopback(struct launch *l);
int step_hostname(struct launch *l);
int step_attach_root(struct launch *l);
int step_mounts(struct launch *l);
int step_terminal(struct launch *l);
int step_sysctl(struct launch *l);
int step_readonly_paths(struct launch *l);
int step_masked_paths(struct launch *l);
int step_readonly_root(struct launch *l);
int step_pivot(struct launch *l);
int step_places(struct launch *l);
int step_keyring(struct launch *l);
int step_built(struct launch *l);
int step_cgroup_namespace(struct launch *l);
int step_capabilities(struct launch *l);
int step_exec(struct launch *l);

/* The service's filter onto this process and all that it becomes: 0 or -errno. */
int service_load_filter(struct launch *l);

/* Without init, after SYNC_EXEC: waits for start and becomes the service. */
void service_run(struct launch *l) __attribute__((noreturn));
