/* A command beside a service that is PID 1 itself: what init would do, from outside. This process
 * enters the namespaces of PID 1 and makes one in its cgroups, as the shim's child: the shim reaps
 * it, and what of a container was not reaped keeps its PID 1 from ending. That child waits until
 * the shim has noted it, then takes the steps of a service (service.c) by the container's own plan,
 * over which the command's is laid. */
#include "shim/launch/beside.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"
#include "ipc/base/mem.h"
#include "ipc/base/proc.h"
#include "ipc/beside.h"
#include "ipc/exec_plan.h"
#include "ipc/exec_view.h"
#include "shim/launch/born.h"
#include "shim/launch/recipe.h"

#define HIERARCHIES 16

static const struct {
	const char *name;
	int flag;
} kinds[] = {
	{"user", CLONE_NEWUSER},
	{"mnt", CLONE_NEWNS},
	{"pid", CLONE_NEWPID},
	{"net", CLONE_NEWNET},
	{"ipc", CLONE_NEWIPC},
	{"uts", CLONE_NEWUTS},
	{"cgroup", CLONE_NEWCGROUP},
};

/* Everything that the child needs once it is in there. */
struct beside {
	struct launch *l;
	struct exec_view view;
	int channel, pid1, unified;
	int procs[HIERARCHIES]; /* cgroup.procs of each group on v1 */
	unsigned procs_len;
	int parent; /* what getppid() says while that is the shim */
};

/* Groups ---------------------------------------------------------------------------------------
 */

static int open_group(void *ctx, const char *root, bool v2)
{
	struct beside *b = ctx;
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s%s%s", root, b->l->set.cgroup, v2 ? "" : "/cgroup.procs");
	fd = open(path, (v2 ? O_PATH | O_DIRECTORY : O_WRONLY) | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : fault(-errno, "%s", path); /* v1: it needs none here */
	if (v2)
		b->unified = fd;
	else if (b->procs_len < HIERARCHIES)
		b->procs[b->procs_len++] = fd;
	return 0;
}

static int enter_groups(const struct beside *b)
{
	for (unsigned i = 0; i < b->procs_len; i++)
		if (write(b->procs[i], "0", 1) < 0)
			return -errno;
	return 0;
}

/* Namespaces -----------------------------------------------------------------------------------
 */

/* Those that PID 1 has of its own. */
static int differing(pid_t pid)
{
	char path[64];
	struct stat ours, theirs;
	int flags = 0;

	for (size_t i = 0; i < array_size(kinds); i++) {
		snprintf(path, sizeof(path), "/proc/self/ns/%s", kinds[i].name);
		if (stat(path, &ours) < 0)
			continue; /* this kernel has none of the kind */
		snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, kinds[i].name);
		if (stat(path, &theirs) < 0)
			return fault(-errno, "%s", path);
		if (ours.st_ino != theirs.st_ino || ours.st_dev != theirs.st_dev)
			flags |= kinds[i].flag;
	}
	return flags;
}

static int enter(struct beside *b)
{
	int flags = differing(pidfd_pid(b->pid1));

	if (flags < 0 || pidfd_dead(b->pid1)) /* it was its pid all the while, or this says so */
		return flags < 0 ? flags : fault_plain(-ESRCH, "the container has ended");
	b->parent = flags & CLONE_NEWPID ? 0 : getppid();
	return flags == 0 || setns(b->pid1, flags) == 0 ? 0 : fault(-errno, "enter its namespaces");
}

/* The plan ------------------------------------------------------------------------------------- */

static int read_plans(struct beside *b)
{
	struct launch *l = b->l;
	int r = settings_read(BESIDE_FD_STATE, &l->set);

	if (r == 0)
		r = reader_run(BESIDE_FD_STATE, &l->set, &l->in);
	if (r == 0)
		r = cghier_find(&l->hier);
	if (r < 0)
		return r;
	l->sb = l->in.sandbox;
	if (l->sb->outcome != LAUNCH_OK)
		return fault_plain(-EINVAL, "config.json: %s", l->sb->error);
	born_fit(l);
	l->set.flags &= ~(uint32_t)(SETTINGS_MERGE_OUTPUT | SETTINGS_TTY | SETTINGS_STDIN);
	r = exec_view_open(
		&b->view, l->in.plan_fd, l->in.plan->size, BESIDE_FD_EXEC + EXEC_FD_PLAN);
	if (r < 0)
		return fault(r, "the command's plan");
	l->in.plan = (struct plan *)(uintptr_t)b->view.plan;
	return 0;
}

static int like_the_service(const struct launch *l)
{
	char text[16];

	if (!(l->sb->flags & SANDBOX_OOM_ADJ))
		return 0;
	snprintf(text, sizeof(text), "%d", l->sb->oom_score_adj);
	return file_write(AT_FDCWD, "/proc/self/oom_score_adj", text) == 0 ? 0 : 1;
}

/* The child ------------------------------------------------------------------------------------ */

static void place_stdio(struct launch *l)
{
	for (int i = 0; i < 3; i++)
		l->stdio[i] = BESIDE_FD_EXEC + EXEC_FD_STDIO + i;
	if (l->in.plan->flags & PLAN_TTY)
		l->tty_peer = l->stdio[0];
}

/* Should the shim be gone, nobody would hear of its end: it ends with it. A change of credentials
 * undoes this, so it comes again after that. */
static int with_the_shim(const struct beside *b)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return -errno;
	return getppid() == b->parent ? 0 : -ESRCH;
}

static const struct beside *child; /* for the step that has only launch's */

static int settled(struct launch *l)
{
	return with_the_shim(child);
}

static bool wait_go(const struct beside *b)
{
	static struct packet p;
	int r;

	do
		r = channel_recv(b->channel, &p, 0);
	while (r == -EINTR);
	return r == 1 && p.h.verb == BESIDE_GO;
}

static void strings(const struct plan_range r, const void *base, char **to)
{
	char *s = (char *)(uintptr_t)base + r.off;

	for (uint32_t i = 0; i < r.count; i++, s += strlen(s) + 1)
		to[i] = s;
}

static struct exec_failure become(const struct beside *b)
{
	struct launch *l = b->l;
	char **argv = calloc(l->in.plan->argv.count + 1u, sizeof(*argv));
	char **envp = calloc(exec_view_env_len(&b->view) + 1u, sizeof(*envp));
	enum spawn_step step = SPAWN_FORK;
	int r = !argv || !envp ? -ENOMEM : with_the_shim(b);

	if (r == 0)
		r = enter_groups(b);
	if (r == 0) {
		step = SPAWN_SESSION;
		r = setsid() < 0 || step_keyring(l) < 0 ? -errno : 0;
	}
	if (r == 0) {
		strings(l->in.plan->argv, l->in.plan, argv);
		exec_view_env(&b->view, envp);
		place_stdio(l);
		r = service_become(l, argv, envp, settled, &step);
	}
	return (struct exec_failure){.step = step, .errnum = -r};
}

static __attribute__((noreturn)) void child_run(struct beside *b)
{
	struct exec_failure f;

	child = b;
	if (!wait_go(b))
		_exit(125); /* nobody knows of this one */
	f = become(b);
	channel_send(b->channel, BESIDE_FAILED, 0, &f, sizeof(f), NULL, 0);
	if (write(BESIDE_FD_EXEC + EXEC_FD_RESULT, &f, sizeof(f)) < 0)
		_exit(126);
	_exit(f.step == SPAWN_EXEC && f.errnum == ENOENT ? 127 : 126);
}

/* ---------------------------------------------------------------------------------------------- */

static int give_birth(struct beside *b)
{
	int pidfd = -1;
	struct clone_args args = {
		.flags = CLONE_PARENT | CLONE_PIDFD,
		.pidfd = (uint64_t)(uintptr_t)&pidfd,
	};
	pid_t pid;
	int r;

	if (b->unified >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)b->unified;
	}
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0)
		child_run(b);
	if (pid < 0)
		return fault(-errno, "make a process in the container");
	r = channel_send(b->channel, BESIDE_BORN, 0, NULL, 0, &pidfd, 1);
	/* Not by exit: in between the namespaces nothing that a library does then need work. */
	_exit(r < 0 ? 125 : 0);
}

static int begin(struct beside *b)
{
	int r = read_plans(b);

	if (r == 0)
		r = cghier_each(&b->l->hier, open_group, b);
	if (r == 0)
		r = like_the_service(b->l) < 0 ? -EIO : 0;
	if (r == 0)
		r = enter(b);
	return r == 0 ? give_birth(b) : r;
}

int beside_run(struct launch *l)
{
	struct beside b = {
		.l = l,
		.channel = BESIDE_FD_CHANNEL,
		.pid1 = BESIDE_FD_PID1,
		.unified = -1,
	};
	struct reply refused = {0};
	int r;

	for (int fd = BESIDE_FD_CHANNEL; fd < BESIDE_FD_LIMIT; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			return fault(-errno, "descriptor %d", fd);
	l->state = BESIDE_FD_STATE;
	r = begin(&b);
	refused.err = r;
	snprintf(refused.text, sizeof(refused.text), "%s", fault_text());
	channel_send(b.channel, BESIDE_REFUSED, 0, &refused, sizeof(refused), NULL, 0);
	return r;
}
