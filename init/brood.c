#include "init/brood.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/fds.h"
#include "ipc/status.h"

#define FIRST_FD    3
#define SPAWN_FDS   16
#define SCRATCH_FD  64 /* above every number that is placed */
#define SUPERVISORS "/holdfast.d/"
#define LEAVE_TRIES 200
#define LEAVE_MSEC  5

extern char **environ;

void brood_close_from(int fd)
{
	syscall(SYS_close_range, (unsigned)fd, ~0U, 0U);
}

/* The number alone: the table of its names is larger than most of what the keeper does. */
void brood_complain(const char *what, int err)
{
	char number[] = ": errno    \n";
	char *p = number + sizeof(number) - 3;
	ssize_t n = write(STDERR_FILENO, "holdfast-keeper: ", 17);

	for (; err > 0 && *p == ' '; err /= 10)
		*p-- = (char)('0' + err % 10);
	if (n > 0)
		n = write(STDERR_FILENO, what, strlen(what));
	if (n > 0)
		n = write(STDERR_FILENO, number, sizeof(number) - 1);
	if (n < 0)
		return; /* nobody listens: there is nobody to tell */
}

static struct brood_child *find_pid(struct brood *b, pid_t pid)
{
	for (unsigned i = 0; i < KEEPER_CHILDREN_MAX; i++)
		if (b->children[i].end.pid == pid && !b->children[i].done)
			return &b->children[i];
	return 0;
}

static struct brood_child *free_child(struct brood *b)
{
	struct brood_child *oldest = 0;

	for (unsigned i = 0; i < KEEPER_CHILDREN_MAX; i++) {
		struct brood_child *c = &b->children[i];

		if (c->end.pid == 0)
			return c;
		if (c->done && (!oldest || c->end.boot_usec < oldest->end.boot_usec))
			oldest = c;
	}
	return oldest; /* an end that nobody fetched; 0 with 64 living children: cannot be */
}

static void add(struct brood *b, enum child_kind kind, pid_t pid, uint64_t nonce)
{
	struct brood_child *c = free_child(b);

	if (c)
		*c = (struct brood_child){.end = {.nonce = nonce, .pid = pid, .kind = kind}};
}

/* In the child, between fork and exec. ------------------------------------------------------- */

static void child_exec(int exe, const char *name, const char *id, const int *fds, size_t nfds)
{
	char *argv[] = {(char *)(uintptr_t)name, (char *)(uintptr_t)id, 0};
	int high[SPAWN_FDS], high_exe;
	sigset_t none;

	/* first out of the way, then down: no target can be a source that is still needed */
	for (size_t i = 0; i < nfds; i++)
		high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, SCRATCH_FD);
	high_exe = fcntl(exe, F_DUPFD_CLOEXEC, SCRATCH_FD);
	for (size_t i = 0; i < nfds; i++)
		if (dup2(high[i], FIRST_FD + (int)i) < 0)
			_exit(125);
	syscall(SYS_close_range, FIRST_FD + (unsigned)nfds, ~0U, 1U << 2 /* CLOSE_RANGE_CLOEXEC */);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, 0);
	syscall(SYS_execveat, high_exe, "", argv, environ, AT_EMPTY_PATH);
	brood_complain(name, errno);
	_exit(125);
}

int brood_spawn(struct brood *b, enum child_kind kind, int exe, const char *name, const char *id,
	const int *fds, size_t nfds)
{
	pid_t pid;

	if (nfds > SPAWN_FDS)
		return -E2BIG;
	pid = _Fork(); /* no thread, no atfork handler: the rest of fork would be dead weight */
	if (pid < 0)
		return -errno;
	if (pid == 0)
		child_exec(exe, name, id, fds, nfds);
	add(b, kind, pid, 0);
	return 0;
}

/* ---------------------------------------------------------------------------------------------- */

void brood_expect(struct brood *b, pid_t pid, uint64_t nonce)
{
	for (unsigned i = 0; i < KEEPER_CHILDREN_MAX; i++)
		if (b->children[i].end.pid == pid && b->children[i].end.nonce == nonce)
			return; /* it was faster: reaped already */
	add(b, CHILD_INIT, pid, nonce);
}

static uint64_t tv_usec(struct timeval tv)
{
	return (uint64_t)tv.tv_sec * USEC_PER_SEC + (uint64_t)tv.tv_usec;
}

static void note_end(struct brood_child *c, int status, const struct rusage *ru)
{
	c->end.status = status;
	c->end.boot_usec = now_boot();
	c->end.utime_usec = tv_usec(ru->ru_utime);
	c->end.stime_usec = tv_usec(ru->ru_stime);
	c->end.maxrss_kib = (uint64_t)ru->ru_maxrss;
	c->done = true;
	c->told = false;
}

enum brood_event brood_reap(struct brood *b, uint64_t launch_nonce)
{
	struct brood_child *c;
	struct rusage ru;
	uint32_t kind;
	int status;
	/* __WALL: a clone'd init may have another exit signal than SIGCHLD */
	pid_t pid = wait4(-1, &status, WNOHANG | WUNTRACED | __WALL, &ru);

	if (pid <= 0)
		return BROOD_NONE;
	c = find_pid(b, pid);
	if (WIFSTOPPED(status)) {
		if (c && c->end.kind == CHILD_SHIM)
			kill(pid, SIGKILL);
		return BROOD_OTHER;
	}
	if (!c) {
		add(b, CHILD_INIT, pid, launch_nonce);
		c = find_pid(b, pid);
		if (!c)
			return BROOD_OTHER;
	}
	note_end(c, status, &ru);
	kind = c->end.kind;
	if (kind == CHILD_INIT)
		return BROOD_OTHER; /* kept until acknowledged */
	c->end.pid = 0;
	return kind == CHILD_SHIM ? BROOD_SHIM : BROOD_LAUNCH;
}

static const struct brood_child *alive(const struct brood *b, enum child_kind kind)
{
	for (unsigned i = 0; i < KEEPER_CHILDREN_MAX; i++)
		if (b->children[i].end.pid && !b->children[i].done &&
			b->children[i].end.kind == (uint32_t)kind)
			return &b->children[i];
	return 0;
}

pid_t brood_pid(const struct brood *b, enum child_kind kind)
{
	const struct brood_child *c = alive(b, kind);

	return c ? c->end.pid : 0;
}

void brood_name(struct brood *b, enum child_kind kind, uint64_t nonce)
{
	struct brood_child *c = (struct brood_child *)(uintptr_t)alive(b, kind);

	if (c)
		c->end.nonce = nonce;
}

void brood_kill(struct brood *b, uint64_t nonce)
{
	for (unsigned i = 0; i < KEEPER_CHILDREN_MAX; i++) {
		const struct brood_child *c = &b->children[i];

		/* not reaped yet, so the pid is still this child's */
		if (c->end.pid && !c->done && c->end.nonce == nonce && c->end.kind != CHILD_SHIM)
			kill(c->end.pid, SIGKILL);
	}
}

void brood_end(struct brood *b)
{
	for (unsigned i = 0; i < KEEPER_CHILDREN_MAX; i++) {
		const struct brood_child *c = &b->children[i];

		if (c->end.pid && !c->done)
			kill(c->end.pid, SIGKILL);
	}
	while (wait4(-1, 0, __WALL, 0) > 0 || errno == EINTR)
		;
}

void brood_forget(struct brood *b, uint64_t nonce)
{
	for (unsigned i = 0; i < KEEPER_CHILDREN_MAX; i++)
		if (b->children[i].done && b->children[i].end.nonce == nonce)
			b->children[i] = (struct brood_child){0};
}

void brood_untell(struct brood *b)
{
	for (unsigned i = 0; i < KEEPER_CHILDREN_MAX; i++)
		if (b->children[i].end.pid)
			b->children[i].told = false;
}

void brood_write_status(struct brood *b, uint32_t revivals)
{
	struct status_slot s = {
		.seq = ++b->status_seq,
		.keeper_pid = getpid(),
		.shim_pid = brood_pid(b, CHILD_SHIM),
		.revivals = revivals,
		.boot_usec = now_boot(),
	};
	int fd = openat(
		KEEPER_FD_STATE, "status", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	s.sum = status_sum(&s);
	if (fd < 0)
		return; /* a convenience for people: never a reason to fail */
	if (pwrite(fd, &s, sizeof(s), (off_t)(s.seq % 2 * sizeof(s))) < 0)
		brood_complain("status", errno);
	close(fd);
}

void brood_leave_cgroup(void)
{
	const char *own = getenv("HOLDFAST_OWN_CGROUP");
	const char *top = own;
	char path[512];
	size_t root;
	int fd;

	while (top && *top && strncmp(top, SUPERVISORS, sizeof(SUPERVISORS) - 1) != 0)
		top++;
	if (!top || !*top || strlen(own) >= sizeof(path) - sizeof("/cgroup.procs"))
		return;
	root = (size_t)(top - own);
	memcpy(path, own, root);
	memcpy(path + root, "/cgroup.procs", sizeof("/cgroup.procs"));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (write(fd, "0", 1) < 0)
		brood_complain("leaving its cgroup", errno);
	close(fd);
	memcpy(path, own, strlen(own) + 1);
	/* The last of the others may be a zombie still: dying is the kernel's, and tells nobody
	 * here. */
	for (int i = 0; i < LEAVE_TRIES && rmdir(path) < 0 && errno == EBUSY; i++)
		poll(0, 0, LEAVE_MSEC);
	/* realm, /holdfast.d itself: each only when it was the last */
	do
		*strrchr(path, '/') = '\0';
	while (strlen(path) > root + 1 && rmdir(path) == 0);
}
