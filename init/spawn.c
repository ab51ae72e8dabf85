#include "init/spawn.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "init/exec.h"
#include "init/kept.h"
#include "init/sys.h"
#include "ipc/exec_search.h"
#include "ipc/exec_view.h"
#include "ipc/shared.h"

struct child {
	const struct plan *plan; /* the whole of it, mapped by the child itself */
	const struct kept *kept; /* NULL: an exec is given nothing */
	const int *stdio;
	int result; /* write end of the pipe that says what failed */
	bool moved; /* chdir succeeded */
	char **argv, **envp;
	const struct exec_view *exec; /* NULL: the service */
};

static int step_session(struct child *c)
{
	return sys_result(setsid());
}

/* A session leader that takes a terminal gets its own process group into the foreground with it.
 * The run before has lost the terminal when its session leader died. */
static int step_tty(struct child *c)
{
	if (!(c->plan->flags & PLAN_TTY))
		return 0;
	/* Without CAP_CHOWN it stays root's: the command has it open all the same. */
	if (c->exec && fchown(c->stdio[0], c->plan->uid, (gid_t)-1) < 0 && errno != EPERM)
		return -errno;
	return sys_result(ioctl(c->stdio[0], TIOCSCTTY, 0));
}

static int step_stdio(struct child *c)
{
	for (int fd = 0; fd < 3; fd++)
		if (dup2(c->stdio[fd], fd) < 0)
			return -errno;
	umask(c->plan->umask & 0777);
	return 0;
}

/* Before the limits, of which one is that of descriptors. The pipe goes above all of them. */
static int step_kept(struct child *c)
{
	int first = KEPT_FIRST + (int)kept_count(c->kept);

	if (first == KEPT_FIRST)
		return 0;
	c->result = fcntl(c->result, F_DUPFD_CLOEXEC, first);
	return c->result < 0 ? -errno : kept_place(c->kept);
}

static int step_rlimits(struct child *c)
{
	const struct plan_rlimit *l = (const void *)((const char *)c->plan + c->plan->rlimits.off);

	for (uint32_t i = 0; i < c->plan->rlimits.count; i++) {
		const uint64_t both[2] = {l[i].soft, l[i].hard};

		if (syscall(SYS_prlimit64, 0, l[i].resource, both, NULL) < 0)
			return -errno;
	}
	return 0;
}

/* As init first: a directory that only root may search is allowed as a working directory. */
static int step_cwd_early(struct child *c)
{
	c->moved = chdir((const char *)c->plan + c->plan->cwd.off) == 0;
	return 0;
}

/* Then as the service: what root may not search without CAP_DAC_OVERRIDE, its owner may. */
static int step_cwd_late(struct child *c)
{
	return c->moved ? 0 : sys_result(chdir((const char *)c->plan + c->plan->cwd.off));
}

static int step_groups(struct child *c)
{
	const void *list = (const char *)c->plan + c->plan->groups.off;
	uint32_t n = c->plan->groups.count;

	if (syscall(SYS_setgroups, (size_t)n, list) == 0)
		return 0;
	/* Denied in a user namespace made without privilege: fine if there are none to drop. */
	if (errno == EPERM && n == 0 && syscall(SYS_getgroups, 0, NULL) == 0)
		return 0;
	return -errno;
}

/* Leaving uid 0 must not empty the permitted set before step_caps has chosen from it; exec clears
 * the flag. */
static int step_ids(struct child *c)
{
	uint32_t uid = c->plan->uid, gid = c->plan->gid;

	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return -errno;
	if (syscall(SYS_setresgid, gid, gid, gid) < 0 || syscall(SYS_setresuid, uid, uid, uid) < 0)
		return -errno;
	return 0;
}

/* PID 1 holds the service's bounding set and four capabilities for spawning; those end here. */
static int drop_bounding(const struct plan_caps *caps)
{
	static const uint8_t own[] = {CAP_SETUID, CAP_SETGID, CAP_SETPCAP, CAP_KILL};

	for (size_t i = 0; i < sizeof(own); i++)
		if (!(caps->bounding >> own[i] & 1) && prctl(PR_CAPBSET_DROP, own[i]) < 0)
			return -errno;
	return 0;
}

static int raise_ambient(uint64_t ambient)
{
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	for (unsigned long c = 0; ambient; c++, ambient >>= 1)
		if (ambient & 1 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, c, 0, 0) < 0)
			return -errno;
	return 0;
}

/* The ids' change has emptied the effective set when it left uid 0: CAP_SETPCAP must be effective
 * again before the bounding set can shrink, so capset comes twice. */
static int step_caps(struct child *c)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2];
	const struct plan_caps *caps = &c->plan->caps;
	int r;

	if (syscall(SYS_capget, &h, d) < 0)
		return -errno;
	for (int i = 0; i < 2; i++)
		d[i].effective = d[i].permitted;
	if (syscall(SYS_capset, &h, d) < 0)
		return -errno;
	if ((r = drop_bounding(caps)) < 0)
		return r;
	for (int i = 0; i < 2; i++) {
		d[i].permitted = (uint32_t)(caps->permitted >> 32 * i);
		d[i].effective = (uint32_t)(caps->effective >> 32 * i);
		d[i].inheritable = (uint32_t)(caps->inheritable >> 32 * i);
	}
	if (syscall(SYS_capset, &h, d) < 0)
		return -errno;
	return raise_ambient(caps->ambient);
}

static int step_no_new_privs(struct child *c)
{
	if (!(c->plan->flags & PLAN_NO_NEW_PRIVS))
		return 0;
	return sys_result(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

int spawn_filter(const struct plan *plan)
{
	struct sock_fprog prog = {
		.len = (unsigned short)plan->filter.count,
		.filter = (void *)(uintptr_t)((const char *)plan + plan->filter.off),
	};

	if (plan->filter.count > BPF_MAXINSNS)
		return -E2BIG;
	return sys_result(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog));
}

/* Last but exec, so that the filter need not allow any of the steps. Signals are let in just
 * before: one that waited kills the child here and is reported as the run's end. */
static int step_seccomp(struct child *c)
{
	const struct plan_range *f = &c->plan->filter;

	/* CLOSE_RANGE_CLOEXEC: the result pipe must stay */
	syscall(SYS_close_range, KEPT_FIRST + kept_count(c->kept), ~0u, 4);
	sys_sigmask(0);
	if (f->count == 0 || c->plan->flags & PLAN_FILTER_ONCE)
		return 0;
	return spawn_filter(c->plan);
}

static char **point_to(char **at, const struct plan *plan, struct plan_range strings)
{
	char *s = (char *)(uintptr_t)plan + strings.off;

	for (uint32_t i = 0; i < strings.count; i++) {
		*at++ = s;
		s += strlen(s) + 1;
	}
	*at++ = NULL;
	return at;
}

/* The pointer arrays live in the child alone: PID 1 never touches their pages. Made before the
 * filter, which may forbid mmap. */
static int step_strings(struct child *c)
{
	size_t envs = c->exec ? exec_view_env_len(c->exec) : c->plan->envp.count + KEPT_VARIABLES;
	size_t n = (size_t)c->plan->argv.count + envs + 2;
	size_t size = n * sizeof(char *) + kept_env_size(c->kept, c->plan);
	char **at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		return -errno;
	c->argv = at;
	c->envp = point_to(at, c->plan, c->plan->argv);
	if (c->exec) {
		exec_view_env(c->exec, c->envp);
		return 0;
	}
	point_to(c->envp, c->plan, c->plan->envp);
	kept_env(c->kept, c->plan, c->envp, (char *)(at + n));
	return 0;
}

static const struct {
	enum spawn_step step;
	int (*take)(struct child *c);
} steps[] = {
	{SPAWN_FORK, step_strings},
	{SPAWN_SESSION, step_session},
	{SPAWN_TTY, step_tty},
	{SPAWN_STDIO, step_stdio},
	{SPAWN_PASS, step_kept},
	{SPAWN_RLIMIT, step_rlimits},
	{SPAWN_CWD, step_cwd_early},
	{SPAWN_GROUPS, step_groups}, /* before the ids: takes CAP_SETGID */
	{SPAWN_IDS, step_ids},
	{SPAWN_CAPS, step_caps},
	{SPAWN_CWD, step_cwd_late},
	{SPAWN_NO_NEW_PRIVS, step_no_new_privs}, /* before the filter: allows to load it */
	{SPAWN_SECCOMP, step_seccomp},
};

static struct spawn_failure take_steps(struct child *c)
{
	int r;

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		if ((r = steps[i].take(c)) < 0)
			return (struct spawn_failure){steps[i].step, -r};
	r = exec_search(c->argv, c->envp);
	return (struct spawn_failure){SPAWN_EXEC, -r};
}

static struct spawn_failure child_run(struct child *c, size_t size)
{
	c->plan = mmap(NULL, size, PROT_READ, MAP_PRIVATE, PLAN_FD_PLAN, 0);
	if (c->plan == MAP_FAILED)
		return (struct spawn_failure){SPAWN_FORK, errno};
	return take_steps(c);
}

int spawn_service(
	const struct plan *plan, const struct kept *kept, const int stdio[3], struct spawned *ret)
{
	struct child c = {.kept = kept, .stdio = stdio};
	struct spawn_failure failure;
	int pipe[2];

	if (pipe2(pipe, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	ret->pid = sys_fork(&ret->pidfd);
	if (ret->pid == 0) {
		c.result = pipe[1];
		failure = child_run(&c, plan->size);
		/* 8 bytes into an empty pipe neither block nor come in parts. */
		if (write(c.result, &failure, sizeof(failure)) < 0)
			_exit(126);
		_exit(exec_failure_code(-failure.errnum));
	}
	close(pipe[1]);
	ret->result = pipe[0];
	if (ret->pid > 0)
		return 0;
	close(pipe[0]);
	return ret->pid;
}

static struct exec_failure exec_run(struct child *c, size_t size, int exec_plan)
{
	struct exec_view v;
	struct spawn_failure f = {
		SPAWN_EXEC_PLAN, -exec_view_open(&v, PLAN_FD_PLAN, size, exec_plan)};

	if (f.errnum == 0) {
		c->plan = v.plan;
		c->exec = &v;
		f = take_steps(c);
	}
	return (struct exec_failure){f.step, f.errnum};
}

pid_t spawn_exec(const struct plan *plan, const int *fds, struct exec_slot *slot, int *pidfd)
{
	struct child c = {.stdio = fds + EXEC_FD_STDIO};
	struct exec_failure failure;
	pid_t pid = sys_fork(pidfd);

	if (pid)
		return pid;
	failure = exec_run(&c, plan->size, fds[EXEC_FD_PLAN]);
	slot->errnum = failure.errnum;
	slot->step = (uint8_t)failure.step;
	if (write(fds[EXEC_FD_RESULT], &failure, sizeof(failure)) < 0)
		_exit(126);
	_exit(failure.step == SPAWN_EXEC ? exec_failure_code(-failure.errnum) : 126);
}

pid_t spawn_helper(int (*f)(const struct plan *plan), const struct plan *plan)
{
	pid_t pid = sys_fork(NULL);

	if (pid == 0)
		_exit(f(plan));
	return pid;
}
