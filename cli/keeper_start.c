/* The keeper outlives this command: it is forked twice, in a session of its own, cwd /, with
 * exactly the descriptors of ipc/fds.h and nothing else of ours: no inherited fd, signal mask,
 * disposition or environment beyond what it needs. It stands in a group of its own in the v2 tree,
 * so that killing the caller's group (a login session, a systemd unit) does not take it along. */
#include "cli/keeper_start.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/command.h"
#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"
#include "ipc/base/mem.h"
#include "ipc/cghier.h"
#include "ipc/fds.h"

#define READY_DEADLINE_USEC (10 * USEC_PER_SEC)
#define ENV_MAX		    64
#define GROUP_TRIES	    5
#define LAST_WORDS	    512

enum program { PROGRAM_SHIM, PROGRAM_LAUNCH, PROGRAM_KEEPER, PROGRAM_INIT, PROGRAMS };

/* What the child tells before and instead of its exec. */
struct birth {
	pid_t pid;
	int err;
};

struct start {
	int exe[PROGRAMS];
	int state, lock, log, null, group; /* group: -1 when there is none to start in */
	int inherit;			   /* -1: nothing */
	bool rcu;			   /* moves between cgroups will have to be made */
	int ready[2], birth[2];
	const char *id;
};

static void libexec_dir(char *ret, size_t size)
{
	const char *env = getenv("HOLDFAST_LIBEXEC_DIR");
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (env && env[0] == '/') {
		snprintf(ret, size, "%s", env);
		return;
	}
	self[n < 0 ? 0 : n] = '\0';
	slash = strrchr(self, '/');
	if (slash)
		*slash = '\0';
	if (snprintf(ret, size, "%s/../libexec/holdfast", self) >= (int)size)
		ret[0] = '\0';
}

static int programs_open(int exe[PROGRAMS])
{
	static const char *const names[PROGRAMS] = {
		"holdfast-shim", "holdfast-launch", "holdfast-keeper", "holdfast-init"};
	char dir[PATH_MAX], path[PATH_MAX + 32];

	libexec_dir(dir, sizeof(dir));
	for (int i = 0; i < PROGRAMS; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		exe[i] = open(path, O_PATH | O_CLOEXEC);
		if (exe[i] < 0)
			return fault(-errno,
				"%s (installed? HOLDFAST_LIBEXEC_DIR names another place)", path);
	}
	return 0;
}

int keeper_check(void)
{
	int exe[PROGRAMS] = {-1, -1, -1, -1};
	int r = programs_open(exe);

	for (int i = 0; i < PROGRAMS; i++)
		fd_close(&exe[i]);
	return r;
}

/* "HOLDFAST_OWN_CGROUP=PATH": what the keeper removes when it leaves; empty: no group of its own.
 */
#define OWN_GROUP "HOLDFAST_OWN_CGROUP="
static char own_group[sizeof(OWN_GROUP) + PATH_MAX];

/* The keeper's own group. Without one it starts where we are: worse to account, nothing breaks. */
static int group_open(const char *id, bool *rcu)
{
	struct cghier h;
	char path[PATH_MAX];
	int fd = -1, r = -ENOENT;

	if (cghier_find(&h) < 0 || h.unified[0] == '\0')
		return -1;
	*rcu = h.at[CG_MEMORY].root[0] && !h.at[CG_MEMORY].v2;
	snprintf(path, sizeof(path), "%s/holdfast.d/%s/%s", h.unified, REALM, id);
	/* a keeper that leaves removes the parents if they are empty: they may go between two steps
	 */
	for (int i = 0; i < GROUP_TRIES && fd < 0; i++) {
		r = dir_make(AT_FDCWD, path, 0755);
		if (r == 0)
			fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	if (r < 0) {
		complain("warning: %s; the supervisor starts in this command's cgroup",
			fault_text());
		return -1;
	}
	if (fd >= 0)
		snprintf(own_group, sizeof(own_group), OWN_GROUP "%s", path);
	return fd;
}

void keeper_group_discard(const char *id)
{
	struct cghier h;
	char path[PATH_MAX];

	if (cghier_find(&h) < 0 || h.unified[0] == '\0')
		return;
	snprintf(path, sizeof(path), "%s/holdfast.d/%s/%s", h.unified, REALM, id);
	rmdir(path);
	for (int up = 0; up < 2; up++) { /* fails, rightly, while somebody else is in there */
		*strrchr(path, '/') = '\0';
		rmdir(path);
	}
}

static int start_prepare(struct start *st)
{
	int r = programs_open(st->exe);

	if (r < 0)
		return r;
	st->log = openat(st->state, "shim.log",
		O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (st->log < 0)
		return fault(-errno, "create shim.log of %s", st->id);
	st->null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (st->null < 0)
		return fault(-errno, "open /dev/null");
	if (pipe2(st->ready, O_CLOEXEC) < 0 || pipe2(st->birth, O_CLOEXEC) < 0)
		return fault(-errno, "pipe");
	st->group = group_open(st->id, &st->rcu);
	return 0;
}

static void start_finish(struct start *st)
{
	for (int i = 0; i < PROGRAMS; i++)
		fd_close(&st->exe[i]);
	for (int i = 0; i < 2; i++) {
		fd_close(&st->ready[i]);
		fd_close(&st->birth[i]);
	}
	fd_close(&st->lock);
	fd_close(&st->inherit);
	fd_close(&st->log);
	fd_close(&st->null);
	fd_close(&st->group);
}

extern char **environ;

/* Ours, the path, and what a sanitizer build is steered by. */
static char **keeper_env(void)
{
	static const char *const kept[] = {
		"HOLDFAST_", "PATH=", "ASAN_OPTIONS=", "UBSAN_OPTIONS=", "LSAN_OPTIONS="};
	static char *env[ENV_MAX];
	size_t n = 0;

	if (own_group[0])
		env[n++] = own_group;
	for (char **e = environ; *e && n + 1 < ENV_MAX; e++) {
		if (strncmp(*e, OWN_GROUP, strlen(OWN_GROUP)) == 0)
			continue; /* another keeper's, whose descendant we are */
		for (size_t i = 0; i < array_size(kept); i++)
			if (strncmp(*e, kept[i], strlen(kept[i])) == 0) {
				env[n++] = *e;
				break;
			}
	}
	return env;
}

/* Sources are first lifted above every target, so that no dup2 closes one that is still needed. */
static int place_fds(const struct start *st)
{
	const int from[] = {
		[STDIN_FILENO] = st->null,
		[STDOUT_FILENO] = st->log,
		[STDERR_FILENO] = st->log,
		[KEEPER_FD_STATE] = st->state,
		[KEEPER_FD_LOCK] = st->lock,
		[KEEPER_FD_SHIM_EXE] = st->exe[PROGRAM_SHIM],
		[KEEPER_FD_LAUNCH_EXE] = st->exe[PROGRAM_LAUNCH],
		[KEEPER_FD_SELF_EXE] = st->exe[PROGRAM_KEEPER],
		[KEEPER_FD_INIT_EXE] = st->exe[PROGRAM_INIT],
		[KEEPER_FD_READY] = st->ready[1],
		[KEEPER_FD_INHERIT] = st->inherit,
		[KEEPER_FD_LIMIT] = st->birth[1],
	};
	int lifted[array_size(from)];

	for (size_t i = 0; i < array_size(from); i++) {
		lifted[i] = from[i] < 0 ? -1 : fcntl(from[i], F_DUPFD_CLOEXEC, 32);
		if (from[i] >= 0 && lifted[i] < 0)
			return -errno;
	}
	for (size_t i = 0; i < array_size(from); i++) {
		if (from[i] < 0)
			close((int)i);
		else if (dup2(lifted[i], (int)i) < 0)
			return -errno;
	}
	if (syscall(SYS_close_range, array_size(from), ~0U, 0) < 0)
		return -errno;
	return fd_cloexec(KEEPER_FD_LIMIT, 1); /* its closing says: exec worked */
}

static void signals_reset(void)
{
	sigset_t none;

	for (int n = 1; n < NSIG; n++)
		signal(n, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In the grandchild: only returns by _exit. */
static void keeper_exec(const struct start *st)
{
	char *argv[] = {(char *)(uintptr_t) "holdfast-keeper", (char *)(uintptr_t)st->id, NULL};
	struct birth b = {.pid = getpid()};
	char **env = keeper_env();

	write_all(st->birth[1], &b, sizeof(b));
	umask(022);
	signals_reset();
	b.err = chdir("/") < 0 ? -errno : place_fds(st);
	if (b.err == 0) {
		syscall(SYS_execveat, KEEPER_FD_SELF_EXE, "", argv, env, AT_EMPTY_PATH);
		b.err = -errno;
		write_all(KEEPER_FD_LIMIT, &b, sizeof(b));
	}
	_exit(1);
}

static pid_t fork_into(int group)
{
	struct clone_args args = {
		.flags = group >= 0 ? CLONE_INTO_CGROUP : 0,
		.exit_signal = SIGCHLD,
		.cgroup = group >= 0 ? (uint64_t)group : 0,
	};

	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

/* A v1 memory group is entered by a write to cgroup.procs, and the first such write on a quiet host
 * waits for a grace period of the kernel's RCU, about 12 ms; the next ones don't. So one is made
 * now, by a process that nobody waits for and into the group that it is in already: it changes
 * nothing, and the wait goes on beside all that comes before the real one. Nothing else is held
 * meanwhile: others wait for the ends of the lock and of our pipes. */
static void rcu_begin(const struct start *st)
{
	int fd = openat(st->group, "cgroup.procs", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || dup2(fd, 0) < 0 || syscall(SYS_close_range, 1, ~0U, 0) < 0)
		return; /* slower, nothing else */
	if (write(0, "0", 1) < 0)
		return;
}

/* The supervisors of a namesake that was just removed may still be leaving, and take the group away
 * that we have found: it is made again then. */
static pid_t fork_in_group(struct start *st)
{
	pid_t pid = fork_into(st->group);

	for (int i = 0; i < GROUP_TRIES && pid < 0 && st->group >= 0; i++) {
		if (errno != ENOENT && errno != ENODEV)
			break;
		fd_close(&st->group);
		st->group = group_open(st->id, &st->rcu);
		pid = fork_into(st->group);
	}
	return pid;
}

static int keeper_fork(struct start *st)
{
	pid_t pid;

	signal(SIGCHLD, SIG_IGN); /* nobody waits for the one in between: it may take its time */
	pid = fork_in_group(st);
	if (pid < 0 && st->group >= 0) {
		own_group[0] = '\0';
		complain(
			"warning: start in cgroup holdfast.d/%s/%s: %s; the supervisor starts in this command's cgroup",
			REALM, st->id, strerror(errno));
		pid = fork_into(-1);
	}
	if (pid < 0)
		return fault(-errno, "fork");
	if (pid == 0) {
		setsid();
		if (fork_into(-1) == 0)
			keeper_exec(st);
		if (st->rcu && own_group[0])
			rcu_begin(st);
		_exit(0);
	}
	return 0;
}

/* What the keeper wrote before it gave up: the last line of its log. */
static int died(const struct start *st)
{
	auto_fd log = openat(st->state, "shim.log", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	off_t end = log < 0 ? 0 : lseek(log, 0, SEEK_END);
	off_t at = end > LAST_WORDS ? end - LAST_WORDS : 0;
	char text[LAST_WORDS + 1], *line;
	ssize_t n = end > 0 ? pread(log, text, LAST_WORDS, at) : 0;

	text[n > 0 ? n : 0] = '\0';
	while (n > 0 && text[n - 1] == '\n')
		text[--n] = '\0';
	line = n > 0 ? strrchr(text, '\n') : NULL;
	return fault_plain(-EIO, "the supervisor did not start: %s",
		n <= 0 ? "it said nothing"
		: line ? line + 1
		       : text);
}

static int wait_readable(int fd, uint64_t deadline)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint64_t now;

	while ((now = now_mono()) < deadline) {
		int n = poll(&p, 1, (int)((deadline - now) / USEC_PER_MSEC) + 1);

		if (n > 0)
			return 1;
		if (n < 0 && errno != EINTR)
			return fault(-errno, "poll");
	}
	return 0;
}

/* The grandchild's pid (it blocks nobody: written before its exec), then how its exec went. */
static int read_birth(const struct start *st, pid_t *pid)
{
	struct birth b = {0};

	if (read(st->birth[0], &b, sizeof(b)) != sizeof(b))
		return died(st);
	*pid = b.pid;
	if (read(st->birth[0], &b, sizeof(b)) == sizeof(b))
		return fault(b.err, "execute holdfast-keeper");
	return 0;
}

static int wait_ready(const struct start *st)
{
	pid_t pid = 0;
	int r = read_birth(st, &pid);
	char byte;

	if (r < 0)
		return r;
	r = wait_readable(st->ready[0], now_mono() + READY_DEADLINE_USEC);
	if (r < 0)
		return r;
	if (r > 0)
		return read(st->ready[0], &byte, 1) == 1 && byte == 'R' ? 0 : died(st);
	kill(pid, SIGKILL); /* it holds the lock, so it is the one that we started */
	return fault_plain(-ETIMEDOUT,
		"the supervisor was not ready after %d s (its log: shim.log in the state directory)",
		(int)(READY_DEADLINE_USEC / USEC_PER_SEC));
}

int keeper_start(const struct state *s, int lock, int inherit)
{
	struct start st = {
		.exe = {-1, -1, -1, -1},
		.state = s->dirfd,
		.lock = lock,
		.inherit = inherit,
		.log = -1,
		.null = -1,
		.group = -1,
		.ready = {-1, -1},
		.birth = {-1, -1},
		.id = s->id,
	};
	int r = start_prepare(&st);

	if (r == 0)
		r = keeper_fork(&st);
	if (r == 0) {
		fd_close(&st.ready[1]);
		fd_close(&st.birth[1]);
		fd_close(&st.lock); /* the keeper's from here on */
		fd_close(&st.inherit);
		r = wait_ready(&st);
	}
	if (r < 0 && st.group >= 0)
		keeper_group_discard(s->id);
	start_finish(&st);
	return r;
}
