/* The recipe: two straight tables of named steps, one for the parent (launch itself), one for the
 * child that becomes PID 1. A step returns 0 or a fault; its name is what the user reads. */
#pragma once

#include <stddef.h>

#include "ipc/shared.h"

struct launch;

/* Where controllers are on v1, their groups are made and limited while the child builds its inside:
 * it is moved into them before its exec. On v2 it is born in its group, so that must be ready. */
enum step_when { STEP_ALWAYS, STEP_GROUPS_FIRST, STEP_GROUPS_BESIDE };

struct step {
	const char *name;
	int (*run)(struct launch *l);
	enum step_when when;
};

extern const struct step parent_steps[], child_steps[];
extern const size_t parent_step_count, child_step_count;

/* Between the two halves, over one SEQPACKET pair. */
enum sync_verb {
	SYNC_MAPPED = 1, /* parent: ids are mapped, go on */
	SYNC_BUILT,	 /* child: the inside stands */
	SYNC_GROUPED,	 /* parent: cgroups are joined, limits are set; go on. + the counters that
			    came after the clone, the body has a byte each: enum plan_fd */
	SYNC_TTY,	 /* child: + 1 fd, the terminal's master */
	SYNC_EXEC,	 /* child: exec comes next (or the wait for start, without init) */
	SYNC_FAIL,	 /* child: struct sync_fail, then it exits */
	SYNC_HOLD,	 /* child: struct held + 1 fd, for the keeper */
};

struct sync_fail {
	int err;
	char step[32];
	char text[600];
};

/* parent */
int step_listeners(struct launch *l);
int step_exe(struct launch *l);
int step_mount_namespace(struct launch *l);
int step_join(struct launch *l);
int step_rootfs(struct launch *l);
int step_dev(struct launch *l);
int step_null(struct launch *l);
int step_notify(struct launch *l);
int step_health(struct launch *l);
int step_binds(struct launch *l);
int step_groups(struct launch *l);
int step_groups_v1(struct launch *l);
int step_limits(struct launch *l);
int step_devices_rule(struct launch *l);
int step_counters(struct launch *l);
int step_door(struct launch *l);
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
int step_notify_place(struct launch *l);
int step_terminal(struct launch *l);
int step_sysctl(struct launch *l);
int step_readonly_paths(struct launch *l);
int step_masked_paths(struct launch *l);
int step_readonly_root(struct launch *l);
int step_pivot(struct launch *l);
int step_probes(struct launch *l);
int step_places(struct launch *l);
int step_keyring(struct launch *l);
int step_built(struct launch *l);
int step_cgroup_namespace(struct launch *l);
int step_capabilities(struct launch *l);
int step_exec(struct launch *l);

/* The service's filter onto this process and all that it becomes: 0 or -errno. */
int service_load_filter(struct launch *l);

/* Without init, after SYNC_EXEC: waits for start and becomes the service. */
/* Gives the passed descriptors the numbers from 3 on in a service-to-be without init, and the three
 * LISTEN_* of its environment: env has room for LISTEN_VARIABLES more. 0 or -errno. */
#define LAUNCH_UNWANTED 1
/* Waits to be told what the keeper holds and which launch this is: 0, or LAUNCH_UNWANTED. */
int pass_hear(struct launch *l);
int pass_place(struct launch *l);
int pass_env(const struct launch *l, char **env);
#define LISTEN_VARIABLES 3

void service_run(struct launch *l) __attribute__((noreturn));

/* The steps of a service by l->in.plan, its exec included; settled comes once its credentials are
 * what they will be. -errno, and the step at which it failed. */
int service_become(struct launch *l, char **argv, char **envp, int (*settled)(struct launch *l),
	enum spawn_step *step);
