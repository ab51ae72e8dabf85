/* clone3(CLONE_PARENT): the child is the keeper's from its first instant; launch may die at any
 * point and the keeper still reaps. The two halves talk over one SEQPACKET pair; its end of file
 * tells the child that launch is gone (it leaves), and launch that exec has closed it. */
#include "shim/launch/born.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"
#include "ipc/base/mem.h"
#include "ipc/base/proc.h"
#include "ipc/channel.h"
#include "ipc/rlimits.h"
#include "ipc/shared.h"
#include "shim/launch/launch.h"
#include "shim/launch/recipe.h"

#define SYNC_TIMEOUT_MS 60000 /* a build that hangs (a dead network mount) ends in a failure */

static int write_map(const struct launch *l, pid_t pid, const char *file, struct plan_range map)
{
	const struct sandbox_idmap *m = sandbox_range(l->sb, map, sizeof(*m));
	char path[64], text[SANDBOX_IDMAPS * 40];
	size_t n = 0;

	for (uint32_t i = 0; i < map.count; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%u %u %u\n", m[i].inside,
			m[i].outside, m[i].count);
	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	return file_write(AT_FDCWD, path, text);
}

static int write_maps(const struct launch *l, pid_t pid)
{
	int r = write_map(l, pid, "uid_map", l->sb->uid_map);

	return r < 0 ? r : write_map(l, pid, "gid_map", l->sb->gid_map);
}

int born_userns(struct launch *l)
{
	struct clone_args args = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
	char path[64];
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	int fd = -1, r;

	if (pid < 0)
		return fault(-errno, "make a user namespace");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	r = write_maps(l, pid);
	if (r == 0) {
		snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		r = fd < 0 ? fault(-errno, "%s", path) : fd;
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return r;
}

/* Only raised here: what is lowered is lowered in each run's child, since PID 1 itself would die of
 * RLIMIT_CPU and choke on RLIMIT_FSIZE or RLIMIT_NOFILE. Raising takes CAP_SYS_RESOURCE, which root
 * lacks on many hosts: then the host's own is what the service gets, and the plan must say so, or
 * init would ask for more. */
static void cap_limit(struct launch *l, struct plan_rlimit *want)
{
	char hard[24] = "unlimited";
	struct rlimit now, next;

	if (want->resource >= RLIM_NLIMITS || getrlimit((int)want->resource, &now) != 0 ||
		want->hard <= now.rlim_max)
		return;
	next = (struct rlimit){now.rlim_cur, want->hard};
	if (setrlimit((int)want->resource, &next) == 0)
		return; /* the child inherits it */
	if (want->hard != RLIM_INFINITY)
		snprintf(hard, sizeof(hard), "%llu", (unsigned long long)want->hard);
	launch_warn(l,
		"rlimit %s: hard limit %s is above this host's %llu and can't be raised "
		"(CAP_SYS_RESOURCE is missing), lowered to it",
		rlimit_name(want->resource), hard, (unsigned long long)now.rlim_max);
	want->hard = now.rlim_max;
	if (want->soft > want->hard)
		want->soft = want->hard;
}

/* What the host's root lacks can't be given on; init's capset would fail over it at every run. */
static void cap_sets(struct launch *l, struct plan_caps *caps)
{
	uint64_t *const sets[] = {&caps->bounding, &caps->permitted, &caps->effective,
		&caps->inheritable, &caps->ambient};

	for (int c = 0; c < 64; c++) {
		char *name;

		if (!(caps->bounding >> c & 1) || prctl(PR_CAPBSET_READ, c, 0, 0, 0) == 1)
			continue;
		name = cap_to_name(c);
		launch_warn(
			l, "capability %s: this host's root lacks it, left out", name ? name : "?");
		cap_free(name);
		for (size_t i = 0; i < array_size(sets); i++)
			*sets[i] &= ~(1ULL << c);
	}
}

void born_fit(struct launch *l)
{
	struct plan *p = l->in.plan;

	cap_sets(l, &p->caps);
	for (uint32_t i = 0; i < p->rlimits.count; i++)
		cap_limit(l, (struct plan_rlimit *)(void *)((char *)p + p->rlimits.off) + i);
}

int step_plan(struct launch *l)
{
	struct plan *p = l->in.plan;

	/* What the user asked of us is not config.json's to say: the reader's copy is overwritten.
	 */
	p->policy = l->set.policy;
	p->stop_signal = l->set.stop_signal ? l->set.stop_signal : SIGTERM;
	p->stop_grace_usec = l->set.stop_grace_usec;
	p->pipe_size = 1u << 20;
	p->flags &= PLAN_NO_NEW_PRIVS | PLAN_OWN_PIDNS | PLAN_OWN_IPCNS | PLAN_FILTER_ONCE;
	if (p->flags & PLAN_FILTER_ONCE && !(p->flags & PLAN_NO_NEW_PRIVS))
		p->flags |= PLAN_FILTER_HELD;
	p->flags |= launch_flag(l, SETTINGS_TTY) ? PLAN_TTY : 0;
	p->flags |= launch_flag(l, SETTINGS_MERGE_OUTPUT) ? PLAN_MERGE : 0;
	p->flags |=
		launch_flag(l, SETTINGS_STDIN) && !launch_flag(l, SETTINGS_TTY) ? PLAN_STDIN : 0;
	p->flags |= l->group[GROUP_V2].dir >= 0 && l->hier.at[CG_MEMORY].v2 ? PLAN_MEM_V2 : 0;
	if (!launch_new_ns(l, CLONE_NEWPID))
		p->flags &= ~(uint32_t)PLAN_OWN_PIDNS;
	if (!launch_new_ns(l, CLONE_NEWIPC))
		p->flags &= ~(uint32_t)PLAN_OWN_IPCNS;
	born_fit(l);
	return reader_freeze(&l->in);
}

/* Where whoever adopts the container comes in (init/door.h). Only bound: that PID 1 itself listens
 * is how the adopter knows whose it is. */
int step_door(struct launch *l)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	auto_fd fd = -1;
	int r;

	if (launch_flag(l, SETTINGS_NO_INIT))
		return 0;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	r = step_keeper(l); /* else the name may be that of the next launch's door */
	if (r < 0)
		return r;
	unlinkat(l->state, DOOR_NAME, 0); /* of the launch before */
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/" DOOR_NAME, l->state);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0)
		return fault(-errno, "bind " DOOR_NAME);
	l->counters[PLAN_FD_DOOR] = fd_take(&fd);
	return 0;
}

static int hold_pipe(struct launch *l, int fd, uint32_t kind, uint64_t key, bool read_end)
{
	int pipe[2], r;

	if (pipe2(pipe, O_CLOEXEC) != 0)
		return fault(-errno, "pipe");
	fcntl(pipe[1], F_SETPIPE_SZ, 1 << 20); /* what the host allows; the default does as well */
	l->stdio[fd] = pipe[read_end ? 1 : 0];
	r = launch_hold(l, kind, key, pipe[read_end ? 0 : 1]);
	close(pipe[read_end ? 0 : 1]);
	return r;
}

/* Without init the shim counts the runs, in the shared memory, before it asks for a launch. */
static uint32_t run_number(const struct launch *l)
{
	struct shared head;

	return pread(l->shared, &head, sizeof(head), 0) == sizeof(head) && head.run ? head.run : 1;
}

int step_stdio(struct launch *l)
{
	uint32_t run = run_number(l);
	int r = 0;

	if (launch_flag(l, SETTINGS_TTY))
		return 0;
	if (launch_flag(l, SETTINGS_STDIN))
		r = hold_pipe(l, 0, HELD_STDIN, 0, false);
	if (r == 0 && launch_flag(l, SETTINGS_NO_INIT)) {
		r = hold_pipe(l, 1, HELD_STDOUT, run, true);
		if (r == 0)
			r = hold_pipe(l, 2, HELD_STDERR, run, true);
	}
	return r;
}

int step_keeper(struct launch *l)
{
	struct pollfd p = {.fd = l->channel};

	if (getppid() != l->keeper)
		return fault_plain(-ESRCH, "the keeper %d is gone", l->keeper);
	if (poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR)))
		return fault_plain(-EPIPE, "the keeper has hung up");
	return 0;
}

static __attribute__((noreturn)) void child_main(struct launch *l)
{
	struct sync_fail f;

	for (size_t i = 0; i < child_step_count; i++) {
		int r = child_steps[i].run(l);

		if (r >= 0)
			continue;
		f = (struct sync_fail){.err = r};
		snprintf(f.step, sizeof(f.step), "%s", child_steps[i].name);
		snprintf(f.text, sizeof(f.text), "%s", fault_text());
		channel_send(l->sync, SYNC_FAIL, 0, &f, sizeof(f), NULL, 0);
		_exit(125);
	}
	service_run(l);
}

int step_clone(struct launch *l)
{
	struct clone_args args = {
		/* the cgroup namespace comes later, when the groups are joined */
		.flags = CLONE_PARENT | CLONE_PIDFD |
			 (l->sb->namespaces & ~(uint64_t)CLONE_NEWCGROUP),
		.pidfd = (uint64_t)(uintptr_t)&l->pidfd,
	};
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return fault(-errno, "socketpair");
	if (l->group[GROUP_V2].dir >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)l->group[GROUP_V2].dir;
	}
	l->pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (l->pid == 0) {
		close(pair[0]);
		l->sync = pair[1];
		child_main(l);
	}
	close(pair[1]);
	l->sync = pair[0];
	if (l->pid < 0) {
		l->pidfd = -1;
		return fault(-errno, "clone3 with the namespaces asked for");
	}
	return 0;
}

int step_deposit(struct launch *l)
{
	return launch_hold(l, HELD_INIT_PIDFD, 0, l->pidfd);
}

static int tell(struct launch *l, enum sync_verb verb)
{
	int r = channel_send(l->sync, verb, 0, NULL, 0, NULL, 0);

	return r < 0 && r != -EPIPE ? fault(r, "tell the child") : 0;
}

int step_maps(struct launch *l)
{
	int r = launch_new_ns(l, CLONE_NEWUSER) ? write_maps(l, l->pid) : 0;

	return r < 0 ? r : tell(l, SYNC_MAPPED);
}

static int child_failed(struct launch *l, const struct packet *p)
{
	struct launch_result r = {.nonce = l->nonce, .outcome = LAUNCH_FAILED};
	struct sync_fail f;

	if (p->h.len < sizeof(f))
		return fault_plain(-EBADMSG, "the child said something strange");
	memcpy(&f, p->body, sizeof(f));
	f.step[sizeof(f.step) - 1] = f.text[sizeof(f.text) - 1] = '\0';
	r.err = f.err;
	memcpy(r.step, f.step, sizeof(r.step));
	snprintf(r.text, sizeof(r.text), "%s", f.text);
	pidfd_kill(l->pidfd, SIGKILL);
	channel_send(l->channel, LAUNCH_RESULT, l->nonce, &r, sizeof(r), NULL, 0);
	return 1;
}

static int child_gone(void)
{
	return fault_plain(
		-ECHILD, "the child died on the way (killed from outside, or out of memory)");
}

static int keep_tty(struct launch *l, struct packet *p)
{
	auto_fd fd = packet_take_fd(p, 0);

	return fd < 0 ? fault_plain(-EBADMSG, "the child sent no terminal")
		      : launch_hold(l, HELD_TTY, 0, fd);
}

static int keep_held(struct launch *l, struct packet *p)
{
	auto_fd fd = packet_take_fd(p, 0);
	struct held name;

	if (fd < 0 || p->h.len < sizeof(name))
		return fault_plain(-EBADMSG, "the child sent nothing to hold");
	memcpy(&name, p->body, sizeof(name));
	return launch_hold(l, name.kind, name.key, fd);
}

/* A peer that leaves with our word unread resets the connection (unix(7)); what it said before lies
 * behind that one error. */
static int hear(struct launch *l, struct packet *p)
{
	int r = channel_recv(l->sync, p, 1);

	return r == 0 ? channel_recv(l->sync, p, 1) : r;
}

/* 0: want has come; 1: the child has failed and its result is reported; or a fault. */
static int wait_for(struct launch *l, enum sync_verb want)
{
	struct pollfd p = {.fd = l->sync, .events = POLLIN};
	static struct packet packet;
	int r;

	for (;;) {
		r = poll(&p, 1, SYNC_TIMEOUT_MS);
		if (r == 0)
			return fault_plain(-ETIMEDOUT, "the child has not answered for a minute");
		r = r < 0 ? -errno : hear(l, &packet);
		if (r == -EINTR || r == -EAGAIN)
			continue;
		if (r < 0)
			return fault(r, "hear from the child");
		if (r == 0)
			return child_gone();
		if (packet.h.verb == want)
			return 0;
		if (packet.h.verb == SYNC_FAIL)
			return child_failed(l, &packet);
		r = packet.h.verb == SYNC_TTY	 ? keep_tty(l, &packet)
		    : packet.h.verb == SYNC_HOLD ? keep_held(l, &packet)
						 : 0;
		packet_finish(&packet);
		if (r < 0)
			return r;
	}
}

int step_watch_build(struct launch *l)
{
	return wait_for(l, SYNC_BUILT);
}

/* Lowering takes CAP_SYS_RESOURCE, which root inside many hosts lacks: told, not fatal. */
static int oom_score(struct launch *l)
{
	char path[64], text[16];

	if (!(l->sb->flags & SANDBOX_OOM_ADJ))
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", l->pid);
	snprintf(text, sizeof(text), "%d", l->sb->oom_score_adj);
	if (file_write(AT_FDCWD, path, text) < 0)
		launch_warn(l,
			"oomScoreAdj %d: not allowed on this host (CAP_SYS_RESOURCE is "
			"missing), left as it is",
			l->sb->oom_score_adj);
	return 0;
}

/* The child has no copy of what was opened after the clone. */
static int tell_grouped(struct launch *l)
{
	unsigned char at[CHANNEL_FDS_MAX];
	int fds[CHANNEL_FDS_MAX], r;
	size_t n = 0;

	for (int i = 0; l->groups == STEP_GROUPS_BESIDE && i < PLAN_FD_LIMIT; i++) {
		if (l->counters[i] < 0 || n == CHANNEL_FDS_MAX)
			continue;
		at[n] = (unsigned char)i;
		fds[n++] = l->counters[i];
	}
	r = channel_send(l->sync, SYNC_GROUPED, 0, at, n, fds, n);
	return r < 0 && r != -EPIPE ? fault(r, "tell the child") : 0;
}

int step_inherited(struct launch *l)
{
	int r = oom_score(l);

	return r < 0 ? r : tell_grouped(l);
}

/* EXEC, then end of file: the socket was close-on-exec. With init exec'd, or without init waiting
 * for its start, nothing of this process is needed any more. */
int step_watch_exec(struct launch *l)
{
	static struct packet packet;
	struct pollfd p = {.fd = l->sync, .events = POLLIN};
	int r = wait_for(l, SYNC_EXEC);

	if (r != 0)
		return r;
	do
		r = poll(&p, 1, SYNC_TIMEOUT_MS);
	while (r < 0 && errno == EINTR);
	r = r <= 0 ? -ETIMEDOUT : hear(l, &packet);
	if (r == 1)
		return packet.h.verb == SYNC_FAIL ? child_failed(l, &packet) : child_gone();
	return r < 0 ? fault(r, "hear from the child") : 0;
}
