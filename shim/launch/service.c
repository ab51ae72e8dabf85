/* Without init the child itself becomes the service: it waits for START on init's channel, then
 * does what init does per run (init/spawn.c), in the same order and for the same reasons. What
 * fails here is answered on the channel; success is its end of file. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/mem.h"
#include "ipc/channel.h"
#include "ipc/exec_search.h"
#include "ipc/shared.h"
#include "shim/launch/launch.h"
#include "shim/launch/recipe.h"

static const void *at(const struct launch *l, struct plan_range r)
{
	return (const char *)l->in.plan + r.off;
}

static int service_stdio(struct launch *l)
{
	int fds[3] = {l->stdio[0] >= 0 ? l->stdio[0] : l->null, l->stdio[1],
		l->stdio[launch_flag(l, SETTINGS_MERGE_OUTPUT) ? 1 : 2]};

	if (l->tty_peer >= 0) {
		if (ioctl(l->tty_peer, TIOCSCTTY, 0) != 0)
			return -errno;
		fds[0] = fds[1] = fds[2] = l->tty_peer;
	}
	/* first all away from 0..2, which a pipe end may have been given */
	for (int i = 0; i < 3; i++)
		if ((fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3)) < 0)
			return -errno;
	for (int i = 0; i < 3; i++)
		if (dup2(fds[i], i) < 0)
			return -errno;
	umask(l->in.plan->umask & 0777);
	return 0;
}

static int service_rlimits(struct launch *l)
{
	const struct plan_rlimit *want = at(l, l->in.plan->rlimits);

	for (uint32_t i = 0; i < l->in.plan->rlimits.count; i++) {
		struct rlimit lim = {want[i].soft, want[i].hard};

		if (setrlimit((int)want[i].resource, &lim) != 0)
			return -errno;
	}
	return 0;
}

static bool moved;

static int service_cwd_early(struct launch *l)
{
	moved = chdir(at(l, l->in.plan->cwd)) == 0;
	return 0;
}

static int service_cwd(struct launch *l)
{
	if (moved)
		return 0;
	return chdir(at(l, l->in.plan->cwd)) == 0 ? 0 : -errno;
}

static int service_groups(struct launch *l)
{
	size_t n = l->in.plan->groups.count;

	return syscall(SYS_setgroups, n, n ? at(l, l->in.plan->groups) : NULL) == 0 ? 0 : -errno;
}

static int service_bounding(struct launch *l)
{
	uint64_t keep = l->in.plan->caps.bounding;

	for (unsigned long c = 0; c < 64; c++)
		if (!(keep >> c & 1) && prctl(PR_CAPBSET_READ, c, 0, 0, 0) > 0 &&
			prctl(PR_CAPBSET_DROP, c, 0, 0, 0) != 0)
			return -errno;
	return 0;
}

int service_load_filter(struct launch *l)
{
	struct sock_fprog prog = {
		.len = (unsigned short)l->in.plan->filter.count,
		.filter = (struct sock_filter *)(uintptr_t)at(l, l->in.plan->filter),
	};

	return prog.len == 0 || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) == 0
		       ? 0
		       : -errno;
}

/* Without no_new_privs loading takes CAP_SYS_ADMIN, which goes with the next steps; the filter has
 * to allow them then, as under other runtimes. */
static int service_filter_early(struct launch *l)
{
	return l->in.plan->flags & PLAN_NO_NEW_PRIVS ? 0 : service_load_filter(l);
}

static int service_ids(struct launch *l)
{
	uint32_t uid = l->in.plan->uid, gid = l->in.plan->gid;

	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0 || setresgid(gid, gid, gid) != 0 ||
		setresuid(uid, uid, uid) != 0)
		return -errno;
	return 0;
}

static int service_caps(struct launch *l)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2], held[2];
	const struct plan_caps *caps = &l->in.plan->caps;

	if (syscall(SYS_capget, &h, held) != 0)
		return -errno;
	for (int i = 0; i < 2; i++) {
		/* what this host's root lacks itself can't be given on */
		d[i].permitted = (uint32_t)(caps->permitted >> 32 * i) & held[i].permitted;
		d[i].effective = (uint32_t)(caps->effective >> 32 * i) & held[i].permitted;
		d[i].inheritable = (uint32_t)(caps->inheritable >> 32 * i) & held[i].permitted;
	}
	if (syscall(SYS_capset, &h, d) != 0 ||
		prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
		return -errno;
	for (unsigned long c = 0; c < 64; c++)
		if (caps->ambient >> c & 1 && d[c / 32].inheritable >> c % 32 & 1 &&
			prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, c, 0, 0) != 0)
			return -errno;
	return 0;
}

static int service_nnp(struct launch *l)
{
	if (!(l->in.plan->flags & PLAN_NO_NEW_PRIVS))
		return 0;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? 0 : -errno;
}

static int service_filter(struct launch *l)
{
	signal(SIGPIPE, SIG_DFL);
	if (close_range(3 + l->passed_count, ~0u, CLOSE_RANGE_CLOEXEC) != 0)
		return -errno;
	return l->in.plan->flags & PLAN_NO_NEW_PRIVS ? service_load_filter(l) : 0;
}

static char **vector(const struct launch *l, struct plan_range r)
{
	char **v = calloc(r.count + 1u + LISTEN_VARIABLES, sizeof(*v)),
	     *s = (char *)(uintptr_t)at(l, r);

	for (uint32_t i = 0; v && i < r.count; i++) {
		v[i] = s;
		s += strlen(s) + 1;
	}
	return v;
}

static char **service_argv, **service_envp;

static int (*service_settled)(struct launch *l);

/* Its credentials are what they will be. */
static int service_with_parent(struct launch *l)
{
	return service_settled ? service_settled(l) : 0;
}

static int service_exec(struct launch *l)
{
	return exec_search(service_argv, service_envp);
}

static const struct service_step {
	enum spawn_step step;
	const char *name;
	int (*run)(struct launch *l);
} steps[] = {
	{SPAWN_STDIO, "stdio", service_stdio},
	{SPAWN_PASS, "listeners", pass_place}, /* before a limit of descriptors */
	{SPAWN_RLIMIT, "rlimits", service_rlimits},
	{SPAWN_CWD, "cwd", service_cwd_early},
	{SPAWN_GROUPS, "groups", service_groups},	/* before the ids: takes CAP_SETGID */
	{SPAWN_CAPS, "capabilities", service_bounding}, /* takes CAP_SETPCAP */
	{SPAWN_SECCOMP, "seccomp", service_filter_early},
	{SPAWN_IDS, "ids", service_ids},
	{SPAWN_CAPS, "capabilities", service_caps},
	{SPAWN_CWD, "cwd", service_cwd}, /* what only its owner may search */
	{SPAWN_NO_NEW_PRIVS, "no-new-privs",
		service_nnp}, /* before the filter: allows to load it */
	{SPAWN_IDS, "parent", service_with_parent},
	{SPAWN_SECCOMP, "seccomp", service_filter},
	{SPAWN_EXEC, "exec", service_exec},
};

static void wait_start(struct launch *l)
{
	static struct packet p;
	int r;

	do
		r = channel_recv(l->init_channel, &p, 0);
	while (r == -EINTR || (r == 1 && p.h.verb != INIT_START));
	if (r != 1)
		_exit(125); /* shim and keeper are gone */
}

/* A fault's step and its name. */
static int take_steps(struct launch *l, const struct service_step **failed)
{
	for (size_t i = 0; i < array_size(steps); i++) {
		int r = steps[i].run(l);

		*failed = &steps[i];
		if (r < 0)
			return r;
	}
	return -EIO; /* the last one does not come back */
}

int service_become(struct launch *l, char **argv, char **envp, int (*settled)(struct launch *l),
	enum spawn_step *step)
{
	const struct service_step *failed;
	int r;

	service_argv = argv;
	service_envp = envp;
	service_settled = settled;
	r = take_steps(l, &failed);
	*step = failed->step;
	return r;
}

void service_run(struct launch *l)
{
	const struct service_step *failed;
	struct reply reply = {0};

	service_argv = vector(l, l->in.plan->argv);
	service_envp = vector(l, l->in.plan->envp);
	if (!service_argv || !service_envp || pass_env(l, service_envp) < 0)
		_exit(125);
	/* what is launch's own: this wait may be long, and exec closes the rest */
	fd_close(&l->channel);
	fd_close(&l->state);
	fd_close(&l->root);
	fd_close(&l->shared);
	fd_close(&l->init_exe);
	wait_start(l);
	reply.err = take_steps(l, &failed);
	reply.step = failed->step;
	snprintf(reply.text, sizeof(reply.text), "%s: %.100s: %s", failed->name, service_argv[0],
		strerror(-reply.err));
	channel_send(l->init_channel, INIT_REPLY, 0, &reply, sizeof(reply), NULL, 0);
	_exit(failed->step == SPAWN_EXEC && reply.err == -ENOENT ? 127 : 126);
}
