#include "init/boot.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "init/counter.h"
#include "init/pid1.h"

#include "init/relay.h"
#include "init/say.h"
#include "init/spawn.h"

#include "init/sys.h"

#define DOOR_BACKLOG 4

#define OWN_CAPS (1ULL << CAP_SETUID | 1ULL << CAP_SETGID | 1ULL << CAP_SETPCAP | 1ULL << CAP_KILL)

static int refuse(const char *what, int err)
{
	say("refused to start", what, err);
	return err;
}

/* All signals but the ones that a fault of our own raises; the kernel never ignores a blocked
 * signal, not even for PID 1, so the signalfd sees what the service's processes send us. */
static int take_signals(struct pid1 *p)
{
	uint64_t mask = relay_blocked();
	long fd;

	sys_default_handlers(); /* children inherit: a keeper's SIG_IGN must not reach the service
				 */
	sys_sigmask(mask);
	fd = syscall(SYS_signalfd4, -1, &mask, sizeof(mask), SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return refuse("signalfd", -errno);
	p->signals = (int)fd;
	return 0;
}

/* Everything from PLAN_FD_CHANNEL on must not leak into the service, whatever launch forgot. */
static int take_descriptors(struct pid1 *p)
{
	static const char *const missing = "channel, plan, shared memory or null device is missing";
	uint32_t need = 1u << PLAN_FD_CHANNEL | 1u << PLAN_FD_PLAN | 1u << PLAN_FD_SHARED |
			1u << PLAN_FD_NULL;

	for (int fd = PLAN_FD_CHANNEL; fd < PLAN_FD_LIMIT; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			p->have |= 1u << fd;
	if ((p->have & need) != need)
		return refuse(missing, -EBADF);
	syscall(SYS_close_range, PLAN_FD_LIMIT, PLAN_FD_PASSED - 1, 0);
	syscall(SYS_close_range, PLAN_PASSED_LIMIT, ~0u, 0);
	syscall(SYS_close_range, PLAN_FD_CHANNEL, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */);
	/* ours to do: the kernel tells who connects that it was we (SO_PEERCRED) */
	if (pid1_has(p, PLAN_FD_DOOR) && listen(PLAN_FD_DOOR, DOOR_BACKLOG) < 0)
		return refuse("door", -errno);
	return 0;
}

/* The keeper's log must not be open in the container's trust domain. Until here it was, for what we
 * have to say when we refuse to start. */
static void drop_stdio(void)
{
	for (int fd = 0; fd < 3; fd++)
		dup2(PLAN_FD_NULL, fd);
}

static bool plan_sound(const struct plan *m)
{
	const struct {
		struct plan_range range;
		uint32_t elem;
		bool some;
	} ranges[] = {
		{m->argv, 1, true},
		{m->envp, 1, false},
		{m->cwd, 1, true},
		{m->groups, sizeof(uint32_t), false},
		{m->rlimits, sizeof(struct plan_rlimit), false},
		{m->filter, sizeof(struct sock_filter), false},
		{m->tmpfs, 1, false},
		{m->tmpfs_dev, sizeof(uint64_t), false},
		{m->passed, 1, false},
		{m->passed_key, sizeof(uint64_t), false},
	};

	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		bool empty = ranges[i].range.count == 0 && ranges[i].range.len == 0;

		if (empty ? ranges[i].some : !plan_range(m, ranges[i].range, ranges[i].elem))
			return false;
	}
	return m->cwd.count == 1 && m->tmpfs.count == m->tmpfs_dev.count &&
	       m->passed.count == m->passed_key.count && m->passed.count <= PLAN_PASSED_MAX;
}

static int check_plan(struct pid1 *p, const struct plan *m, uint64_t size)
{
	if (m->magic != PLAN_MAGIC || m->version != PLAN_VERSION)
		return refuse("plan: not of this version", -EINVAL);
	if (m->size < sizeof(*m) || m->size > size)
		return refuse("plan: wrong size", -EINVAL);
	if (!plan_sound(m))
		return refuse("plan: a range lies outside", -EINVAL);
	if (m->stop_signal < 1 || m->stop_signal > SIGNALS)
		return refuse("plan: no such stop signal", -EINVAL);
	p->plan = *m;
	if (kept_boot(&p->kept, m) < 0)
		return refuse("plan: a listener or stored descriptor is missing", -EBADF);
	return 0;
}

/* Only the head stays in PID 1's memory: the ranges (environment, filter) can be many pages, and
 * only a child about to exec wants them. The seals make sure that it finds what was checked here.
 */
static int take_plan(struct pid1 *p)
{
	int seals = fcntl(PLAN_FD_PLAN, F_GET_SEALS);
	struct plan *m;
	struct stat st;
	int r;

	if (seals < 0 || !(seals & F_SEAL_SHRINK) || !(seals & F_SEAL_WRITE))
		return refuse("plan: not a sealed memfd", -EPERM);
	if (fstat(PLAN_FD_PLAN, &st) < 0 || st.st_size < (off_t)sizeof(*m) ||
		st.st_size > PLAN_SIZE_MAX)
		return refuse("plan: wrong size", -EINVAL);
	m = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, PLAN_FD_PLAN, 0);
	if (m == MAP_FAILED)
		return refuse("plan: mmap", -errno);
	r = check_plan(p, m, (uint64_t)st.st_size);
	munmap(m, (size_t)st.st_size);
	return r;
}

/* The head alone: the slots would be 64 KiB of our resident memory, so they are written by pwrite.
 */
static int take_shared(struct pid1 *p)
{
	struct shared *m;
	struct stat st;

	if (fstat(PLAN_FD_SHARED, &st) < 0 || st.st_size < (off_t)SHARED_SIZE)
		return refuse("shared memory: too small", -EINVAL);
	m = mmap(NULL, SHARED_SLOTS_OFF, PROT_READ | PROT_WRITE, MAP_SHARED, PLAN_FD_SHARED, 0);
	if (m == MAP_FAILED)
		return refuse("shared memory: mmap", -errno);
	if (m->magic != SHARED_MAGIC || m->version != SHARED_VERSION)
		return refuse("shared memory: not of this version", -EINVAL);
	p->shared = m;
	m->pid = 0;
	/* those of a PID 1 before us died with it */
	for (unsigned i = 0; i < EXEC_SLOTS; i++)
		if (m->execs[i].pid) {
			m->execs[i].pid = 0;
			m->execs[i].unseen = 1;
		}
	return 0;
}

/* Ours: what the service may ever have, and what spawning and killing it takes. CAP_SETPCAP goes
 * into the set last of all drops since PR_CAPBSET_DROP needs it; it stays, each run's child needs
 * it. */
static int drop_caps(const struct plan *plan)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2];
	uint64_t keep = plan->caps.bounding | OWN_CAPS;

	for (unsigned long c = 0; c < 64 && prctl(PR_CAPBSET_READ, c) >= 0; c++)
		if (!(keep >> c & 1) && prctl(PR_CAPBSET_READ, c) == 1 &&
			prctl(PR_CAPBSET_DROP, c) < 0)
			return refuse("drop of a bounding capability", -errno);
	if (syscall(SYS_capget, &h, d) < 0)
		return refuse("capget", -errno);
	for (int i = 0; i < 2; i++) {
		d[i].permitted &= (uint32_t)(keep >> 32 * i);
		d[i].effective = d[i].permitted;
		d[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &h, d) < 0)
		return refuse("capset", -errno);
	return 0;
}

/* A filter that lets PID 1 itself work is loaded here, once: every child inherits it. */
static int take_filter(const struct plan *plan)
{
	const struct plan *m;
	int r;

	if (!(plan->flags & PLAN_FILTER_ONCE) || plan->flags & PLAN_FILTER_HELD ||
		plan->filter.count == 0)
		return 0;
	m = mmap(NULL, plan->size, PROT_READ, MAP_PRIVATE, PLAN_FD_PLAN, 0);
	if (m == MAP_FAILED)
		return refuse("plan: mmap", -errno);
	r = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : spawn_filter(m);
	munmap((void *)(uintptr_t)m, plan->size);
	return r < 0 ? refuse("seccomp filter", r) : 0;
}

int boot(struct pid1 *p)
{
	int r;

	if (getpid() != 1)
		return refuse("a plan needs process 1 of a pid namespace", -EPERM);
	if ((r = take_descriptors(p)) < 0 || (r = take_signals(p)) < 0)
		return r;
	/* No ptrace and no /proc/1/{mem,fd,environ} for the service, whose uid we may share. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return refuse("dumpable", -errno);
	if ((r = take_plan(p)) < 0 || (r = take_shared(p)) < 0 || (r = drop_caps(&p->plan)) < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p->bell) < 0)
		return refuse("the supervisor's bell", -errno);
	if ((r = take_filter(&p->plan)) < 0)
		return r;
	if ((r = spawn_boot(&p->nest, &p->plan)) < 0)
		return refuse("memory for the service's beginning", r);
	counters_warm(p);
	drop_stdio();
	return 0;
}
