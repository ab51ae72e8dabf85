#include "init/spawn.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "init/exec.h"
#include "init/kept.h"
#include "init/raw.h"
#include "init/sys.h"
#include "ipc/exec_search.h"
#include "ipc/exec_view.h"
#include "ipc/shared.h"

#define STACK_SIZE  16384 /* a path of PATH_MAX and a few frames */
#define STACK_ALIGN 16

enum go { GO_NOT_YET, GO_WAITED_FOR, GO };

struct child {
	const struct plan *plan; /* the whole of it */
	struct kept kept;	 /* empty: an exec is given nothing */
	int stdio[3];
	int result;  /* write end of the pipe that says what failed */
	uint32_t go; /* enum go */
	bool moved;  /* chdir succeeded */
	char **strings, **argv, **envp;
	const struct exec_view *exec; /* NULL: the service */
};

static int step_session(struct child *c)
{
	return (int)raw_call(SYS_setsid);
}

/* A session leader that takes a terminal gets its own process group into the foreground with it.
 * The run before has lost the terminal when its session leader died. */
static int step_tty(struct child *c)
{
	if (!(c->plan->flags & PLAN_TTY))
		return 0;
	/* Without CAP_CHOWN it stays root's: the command has it open all the same. */
	if (c->exec) {
		int r = (int)raw_call(SYS_fchown, c->stdio[0], c->plan->uid, -1);

		if (r < 0 && r != -EPERM)
			return r;
	}
	return (int)raw_call(SYS_ioctl, c->stdio[0], TIOCSCTTY, 0);
}

static int step_stdio(struct child *c)
{
	int r;

	for (int fd = 0; fd < 3; fd++)
		if ((r = raw_dup2(c->stdio[fd], fd)) < 0)
			return r;
	umask(c->plan->umask & 0777);
	return 0;
}

/* Before the limits, of which one is that of descriptors. The pipe goes above all of them. */
static int step_kept(struct child *c)
{
	int first = KEPT_FIRST + (int)kept_count(&c->kept), fd;

	if (first == KEPT_FIRST)
		return 0;
	fd = (int)raw_call(SYS_fcntl, c->result, F_DUPFD_CLOEXEC, first);
	if (fd < 0)
		return fd;
	c->result = fd;
	return kept_place(&c->kept);
}

static int step_rlimits(struct child *c)
{
	const struct plan_rlimit *l = (const void *)((const char *)c->plan + c->plan->rlimits.off);

	for (uint32_t i = 0; i < c->plan->rlimits.count; i++) {
		const uint64_t both[2] = {l[i].soft, l[i].hard};
		int r = (int)raw_call(SYS_prlimit64, 0, l[i].resource, both, NULL);

		if (r < 0)
			return r;
	}
	return 0;
}

/* As init first: a directory that only root may search is allowed as a working directory. */
static int step_cwd_early(struct child *c)
{
	c->moved = raw_call(SYS_chdir, (const char *)c->plan + c->plan->cwd.off) == 0;
	return 0;
}

/* Then as the service: what root may not search without CAP_DAC_OVERRIDE, its owner may. */
static int step_cwd_late(struct child *c)
{
	return c->moved ? 0 : (int)raw_call(SYS_chdir, (const char *)c->plan + c->plan->cwd.off);
}

static int step_groups(struct child *c)
{
	const void *list = (const char *)c->plan + c->plan->groups.off;
	uint32_t n = c->plan->groups.count;
	int r = (int)raw_call(SYS_setgroups, n, list);

	/* Denied in a user namespace made without privilege: fine if there are none to drop. */
	if (r == -EPERM && n == 0 && raw_call(SYS_getgroups, 0, NULL) == 0)
		return 0;
	return r;
}

/* Leaving uid 0 must not empty the permitted set before step_caps has chosen from it; exec clears
 * the flag. */
static int step_ids(struct child *c)
{
	uint32_t uid = c->plan->uid, gid = c->plan->gid;
	int r;

	if ((r = (int)raw_call(SYS_prctl, PR_SET_KEEPCAPS, 1)) < 0 ||
		(r = (int)raw_call(SYS_setresgid, gid, gid, gid)) < 0 ||
		(r = (int)raw_call(SYS_setresuid, uid, uid, uid)) < 0)
		return r;
	/* The change has set it to fs.suid_dumpable, for PID 1 too, whose memory this is. Until
	 * here the capabilities keep others off. */
	return (int)raw_call(SYS_prctl, PR_SET_DUMPABLE, 0);
}

/* PID 1 holds the service's bounding set and four capabilities for spawning; those end here. */
static int drop_bounding(const struct plan_caps *caps)
{
	static const uint8_t own[] = {CAP_SETUID, CAP_SETGID, CAP_SETPCAP, CAP_KILL};
	int r = 0;

	for (size_t i = 0; r >= 0 && i < sizeof(own); i++)
		if (!(caps->bounding >> own[i] & 1))
			r = (int)raw_call(SYS_prctl, PR_CAPBSET_DROP, own[i]);
	return r;
}

static int raise_ambient(uint64_t ambient)
{
	int r = (int)raw_call(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL);

	for (unsigned long c = 0; r >= 0 && ambient; c++, ambient >>= 1)
		if (ambient & 1)
			r = (int)raw_call(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, c);
	return r;
}

/* The ids' change has emptied the effective set when it left uid 0: CAP_SETPCAP must be effective
 * again before the bounding set can shrink, so capset comes twice. */
static int step_caps(struct child *c)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2];
	const struct plan_caps *caps = &c->plan->caps;
	int r;

	if ((r = (int)raw_call(SYS_capget, &h, d)) < 0)
		return r;
	for (int i = 0; i < 2; i++)
		d[i].effective = d[i].permitted;
	if ((r = (int)raw_call(SYS_capset, &h, d)) < 0 || (r = drop_bounding(caps)) < 0)
		return r;
	for (int i = 0; i < 2; i++) {
		d[i].permitted = (uint32_t)(caps->permitted >> 32 * i);
		d[i].effective = (uint32_t)(caps->effective >> 32 * i);
		d[i].inheritable = (uint32_t)(caps->inheritable >> 32 * i);
	}
	if ((r = (int)raw_call(SYS_capset, &h, d)) < 0)
		return r;
	return raise_ambient(caps->ambient);
}

static int step_no_new_privs(struct child *c)
{
	if (!(c->plan->flags & PLAN_NO_NEW_PRIVS))
		return 0;
	return (int)raw_call(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1);
}

/* Before the filter, which may forbid futexes. By now the word has mostly been given. */
static int step_go(struct child *c)
{
	uint32_t not_yet = GO_NOT_YET;

	if (c->exec)
		return 0;
	__atomic_compare_exchange_n(
		&c->go, &not_yet, GO_WAITED_FOR, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&c->go, __ATOMIC_SEQ_CST) != GO)
		raw_call(SYS_futex, &c->go, FUTEX_WAIT, GO_WAITED_FOR, NULL);
	return 0;
}

int spawn_filter(const struct plan *plan)
{
	struct sock_fprog prog = {
		.len = (unsigned short)plan->filter.count,
		.filter = (void *)(uintptr_t)((const char *)plan + plan->filter.off),
	};

	if (plan->filter.count > BPF_MAXINSNS)
		return -E2BIG;
	return (int)raw_call(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog);
}

/* Last but exec, so that the filter need not allow any of the steps. Signals are let in just
 * before: one that waited kills the child here and is reported as the run's end. */
static int step_seccomp(struct child *c)
{
	const struct plan_range *f = &c->plan->filter;
	const uint64_t none = 0;

	/* CLOSE_RANGE_CLOEXEC: the result pipe must stay */
	raw_call(SYS_close_range, KEPT_FIRST + kept_count(&c->kept), ~0u, 4);
	raw_call(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof(none));
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

/* For the pointers to all strings. */
static size_t strings_size(const struct plan *plan, size_t envs)
{
	return ((size_t)plan->argv.count + envs + 2) * sizeof(char *);
}

static int step_strings(struct child *c)
{
	size_t size = strings_size(c->plan, c->plan->envp.count + KEPT_VARIABLES);

	c->argv = c->strings;
	c->envp = point_to(c->argv, c->plan, c->plan->argv);
	if (c->exec) {
		exec_view_env(c->exec, c->envp);
		return 0;
	}
	point_to(c->envp, c->plan, c->plan->envp);
	kept_env(&c->kept, c->plan, c->envp, (char *)c->strings + size);
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
	{SPAWN_FORK, step_go},
	{SPAWN_SECCOMP, step_seccomp},
};

static int exec_raw(const char *path, char **argv, char **envp)
{
	return (int)raw_call(SYS_execve, path, argv, envp);
}

static struct spawn_failure take_steps(struct child *c)
{
	int r;

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		if ((r = steps[i].take(c)) < 0)
			return (struct spawn_failure){steps[i].step, -r};
	r = exec_search_by(c->argv, c->envp, exec_raw);
	return (struct spawn_failure){SPAWN_EXEC, -r};
}

/* In PID 1's memory, beside PID 1. */
static int nest_main(void *arg)
{
	struct child *c = arg;
	struct spawn_failure failure = take_steps(c);

	/* 8 bytes into an empty pipe neither block nor come in parts. */
	if (raw_call(SYS_write, c->result, &failure, sizeof(failure)) < 0)
		_exit(126);
	_exit(exec_failure_code(-failure.errnum));
}

static size_t whole(size_t n, size_t unit)
{
	return (n + unit - 1) / unit * unit;
}

static size_t pages(size_t n)
{
	return whole(n, (size_t)getpagesize());
}

/* What a child is told, the pointers to its strings with the text of LISTEN_*, and the stored
 * descriptors of this moment. */
static size_t told_size(const struct plan *plan, size_t text, uint32_t stored)
{
	size_t strings = strings_size(plan, plan->envp.count + KEPT_VARIABLES);

	return whole(sizeof(struct child) + whole(strings + text, sizeof(uint64_t)) +
			     stored * sizeof(struct kept_fd),
		STACK_ALIGN);
}

int spawn_boot(struct nest *nest, const struct plan *plan)
{
	size_t text = KEPT_TEXT_MAX + plan->passed.len;
	size_t all = pages(plan->size) + STACK_SIZE + told_size(plan, text, PLAN_STORED_MAX);

	nest->size = pages(all);
	nest->at = mmap(NULL, nest->size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (nest->at == MAP_FAILED || mmap(nest->at, plan->size, PROT_READ, MAP_PRIVATE | MAP_FIXED,
					      PLAN_FD_PLAN, 0) == MAP_FAILED)
		return -errno;
	return 0;
}

/* At the nest's end, so that it shares a page with most of what the stack needs. */
static struct child *nest_tell(struct nest *nest, const struct plan *plan, const struct kept *kept)
{
	size_t told = told_size(plan, kept_env_size(kept, plan), kept->stored);
	struct child *c = (void *)(nest->at + nest->size - told);
	char *end = nest->at + nest->size;

	*c = (struct child){
		.plan = (const void *)nest->at,
		.strings = (void *)(c + 1),
		.kept = *kept,
	};
	c->kept.table = (void *)(end - kept->stored * sizeof(struct kept_fd));
	if (kept->stored)
		memcpy(c->kept.table, kept->table, kept->stored * sizeof(struct kept_fd));
	nest->used = true;
	nest->go = &c->go;
	return c;
}

/* Not a private futex: the two are processes of their own. */
void spawn_go(struct nest *nest)
{
	if (__atomic_exchange_n(nest->go, GO, __ATOMIC_SEQ_CST) == GO_WAITED_FOR)
		syscall(SYS_futex, nest->go, FUTEX_WAKE, 1);
}

void spawn_left(struct nest *nest)
{
	prctl(PR_SET_DUMPABLE, 0); /* the child may have died between its two calls */
	if (nest->used)
		madvise(nest->at, nest->size, MADV_DONTNEED);
	nest->used = false;
}

int spawn_service(struct nest *nest, const struct plan *plan, const struct kept *kept,
	const int stdio[3], struct spawned *ret)
{
	struct child *c = nest_tell(nest, plan, kept);
	int pipe[2];

	if (pipe2(pipe, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	c->result = pipe[1];
	memcpy(c->stdio, stdio, sizeof(c->stdio));
	ret->pid = sys_result(clone(
		nest_main, c, CLONE_VM | CLONE_WITH_PIDFD | SIGCHLD, c, &ret->pidfd, NULL, NULL));
	close(pipe[1]);
	ret->result = pipe[0];
	if (ret->pid > 0)
		return 0;
	/* the number of a pidfd may have been written before the kernel refused */
	close(pipe[0]);
	ret->result = ret->pidfd = -1;
	return ret->pid;
}

static struct spawn_failure exec_strings(struct child *c)
{
	size_t size = strings_size(c->plan, exec_view_env_len(c->exec));

	c->strings = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return (struct spawn_failure){SPAWN_EXEC_PLAN, c->strings == MAP_FAILED ? errno : 0};
}

static struct exec_failure exec_run(struct child *c, size_t size, int exec_plan)
{
	struct exec_view v;
	struct spawn_failure f = {
		SPAWN_EXEC_PLAN, -exec_view_open(&v, PLAN_FD_PLAN, size, exec_plan)};

	if (f.errnum == 0) {
		c->plan = v.plan;
		c->exec = &v;
		f = exec_strings(c);
	}
	if (f.errnum == 0)
		f = take_steps(c);
	return (struct exec_failure){f.step, f.errnum};
}

pid_t spawn_exec(const struct plan *plan, const int *fds, struct exec_slot *slot, int *pidfd)
{
	struct child c = {0};
	struct exec_failure failure;
	pid_t pid = sys_fork(pidfd);

	if (pid)
		return pid;
	memcpy(c.stdio, fds + EXEC_FD_STDIO, sizeof(c.stdio));
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
