/* The child's half from pivot_root to exec: what is inherited, what is given up, which descriptors
 * PID 1 finds. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <termios.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/mem.h"
#include "ipc/channel.h"
#include "shim/launch/launch.h"
#include "shim/launch/mnt.h"
#include "shim/launch/path.h"
#include "shim/launch/recipe.h"
#include "shim/launch/wait.h"

#define FIRST_HIGH PLAN_PASSED_LIMIT /* above everything that PID 1 gets */

static void take_counters(struct launch *l, struct packet *p)
{
	for (unsigned i = 0; i < p->h.len && i < CHANNEL_FDS_MAX; i++)
		if (p->body[i] < PLAN_FD_LIMIT)
			l->counters[p->body[i]] = packet_take_fd(p, i);
}

int wait_parent(struct launch *l, enum sync_verb want)
{
	static struct packet p;
	int r;

	do
		r = channel_recv(l->sync, &p, 0);
	while (r == -EINTR);
	if (r == 0 || r == -ECONNRESET)
		_exit(125); /* launch is gone: nobody wants this container any more */
	if (r < 0)
		return fault(r, "hear from launch");
	if (want == SYNC_GROUPED)
		take_counters(l, &p);
	packet_finish(&p);
	return p.h.verb == want ? 0 : fault_plain(-EPROTO, "launch said %u", p.h.verb);
}

/* Our devpts and nothing that only looks like it: its root, and ptmx as its inode 2 (5:2). */
static int check_ptmx(int fd)
{
	struct statfs fs;
	struct stat st;

	if (fstatfs(fd, &fs) != 0 || fstat(fd, &st) != 0)
		return fault(-errno, "terminal: ptmx");
	if (fs.f_type != DEVPTS_SUPER_MAGIC || st.st_ino != 2 || st.st_rdev != makedev(5, 2))
		return fault_plain(-ENOTTY, "terminal: /dev/pts/ptmx is not a pty multiplexer");
	return 0;
}

static int show_console(struct launch *l)
{
	auto_fd mount = mnt_clone(l->tty_peer, "", false), at = -1;
	int r;

	if (mount < 0) {
		r = mount;
		mount = -1;
		return fault(r, "terminal: clone it for /dev/console");
	}
	at = path_make(l->root, "/dev/console", 0);
	r = at < 0 ? at : mnt_attach(mount, at);
	if (at < 0)
		at = -1;
	return r < 0 ? fault(r, "terminal: /dev/console") : 0;
}

/* In the container's own devpts, so that ttyname() works inside; the peer by ioctl, never by name.
 */
int step_terminal(struct launch *l)
{
	struct winsize size = {
		.ws_row = (unsigned short)l->sb->rows, .ws_col = (unsigned short)l->sb->cols};
	int unlock = 0, r;

	if (!launch_flag(l, SETTINGS_TTY))
		return 0;
	if (l->devpts < 0)
		return fault_plain(-ENOENT, "terminal: the container has no devpts at /dev/pts");
	l->tty = openat(l->devpts, "ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (l->tty < 0)
		return fault(-errno, "terminal: /dev/pts/ptmx");
	r = check_ptmx(l->tty);
	if (r < 0)
		return r;
	if (ioctl(l->tty, TIOCSPTLCK, &unlock) != 0)
		return fault(-errno, "terminal: unlock");
	l->tty_peer = ioctl(l->tty, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (l->tty_peer < 0)
		return fault(-errno, "terminal: its other end");
	if (size.ws_row && ioctl(l->tty, TIOCSWINSZ, &size) != 0)
		return fault(-errno, "terminal: size");
	if (fchown(l->tty_peer, l->in.plan->uid, (gid_t)-1) != 0)
		return fault(-errno, "terminal: owner %u", l->in.plan->uid);
	r = show_console(l);
	if (r < 0)
		return r;
	r = channel_send(l->sync, SYNC_TTY, 0, NULL, 0, &l->tty, 1);
	return r < 0 ? fault(r, "terminal: hand it over") : 0;
}

/* A fresh ring: keys of whoever started us are not the container's. A host without keyrings, or
 * with its quota used up, has nothing to share. */
int step_keyring(struct launch *l)
{
	if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) >= 0)
		return 0;
	return errno == ENOSYS || errno == EDQUOT || errno == EPERM
		       ? 0
		       : fault(-errno, "new session keyring");
}

int step_built(struct launch *l)
{
	int r = channel_send(l->sync, SYNC_BUILT, 0, NULL, 0, NULL, 0);

	return r < 0 ? fault(r, "tell launch") : wait_parent(l, SYNC_GROUPED);
}

int step_cgroup_namespace(struct launch *l)
{
	if (!launch_new_ns(l, CLONE_NEWCGROUP))
		return 0;
	return unshare(CLONE_NEWCGROUP) == 0 ? 0 : fault(-errno, "make a cgroup namespace");
}

static int capset_all(uint64_t permitted, uint64_t inheritable)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2];

	for (int i = 0; i < 2; i++) {
		d[i].effective = d[i].permitted = (uint32_t)(permitted >> 32 * i);
		d[i].inheritable = (uint32_t)(inheritable >> 32 * i);
	}
	return syscall(SYS_capset, &h, d) == 0 ? 0 : -errno;
}

static int held_caps(uint64_t *ret)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2];

	if (syscall(SYS_capget, &h, d) != 0)
		return -errno;
	*ret = d[0].permitted | (uint64_t)d[1].permitted << 32;
	return 0;
}

/* PID 1: what the service may ever have, and what spawning and signalling it takes. Exec as root
 * fills the permitted set from the bounding set. A capability that the host itself lacks can't be
 * given: the user is told, as by other runtimes. */
int step_capabilities(struct launch *l)
{
	const uint64_t own =
		1ULL << CAP_SETUID | 1ULL << CAP_SETGID | 1ULL << CAP_SETPCAP | 1ULL << CAP_KILL;
	uint64_t keep = l->in.plan->caps.bounding, held = 0;
	int r;

	if (launch_flag(l, SETTINGS_NO_INIT))
		return 0; /* service_run() goes all the way */
	/* without no_new_privs this takes CAP_SYS_ADMIN: now or never */
	if (l->in.plan->flags & PLAN_FILTER_HELD && (r = service_load_filter(l)) < 0)
		return fault(r, "load the filter");
	keep |= own;
	for (unsigned long c = 0; c < 64; c++) {
		if (keep >> c & 1 || prctl(PR_CAPBSET_READ, c, 0, 0, 0) <= 0)
			continue;
		if (prctl(PR_CAPBSET_DROP, c, 0, 0, 0) != 0)
			return fault(-errno, "drop capability %lu", c);
	}
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	r = held_caps(&held);
	if (r == 0)
		r = capset_all(held & keep, 0);
	return r < 0 ? fault(r, "reduce the capabilities") : 0;
}

/* Numbers are swapped in two moves, since a wanted number may still be another's: first all up,
 * then each to its place. */
static int place_fds(struct launch *l, int *exe)
{
	int want[PLAN_FD_LIMIT];

	for (int i = 0; i < PLAN_FD_LIMIT; i++)
		want[i] = l->counters[i];
	want[0] = want[1] = l->null;
	want[2] = STDERR_FILENO; /* shim.log, for init's last words; it drops it once it runs */
	want[PLAN_FD_CHANNEL] = l->init_channel;
	want[PLAN_FD_PLAN] = l->in.plan_fd;
	want[PLAN_FD_SHARED] = l->shared;
	want[PLAN_FD_STDIN] = l->stdio[0] >= 0 ? l->stdio[0] : l->null;
	want[PLAN_FD_NULL] = l->null;
	want[PLAN_FD_TTY] = l->tty;
	want[PLAN_FD_TTY_PEER] = l->tty_peer;
	want[PLAN_FD_PROC] = l->proc;
	for (int i = 0; i < PLAN_FD_LIMIT; i++) {
		if (want[i] < 0)
			continue;
		want[i] = fcntl(want[i], F_DUPFD_CLOEXEC, FIRST_HIGH);
		if (want[i] < 0)
			return fault(-errno, "descriptor %d of PID 1", i);
	}
	for (uint32_t i = 0; i < l->passed_count; i++) {
		l->passed[i].fd = fcntl(l->passed[i].fd, F_DUPFD_CLOEXEC, FIRST_HIGH);
		if (l->passed[i].fd < 0)
			return fault(-errno, "descriptor \"%s\" of the service", l->passed[i].name);
	}
	l->sync = fcntl(l->sync, F_DUPFD_CLOEXEC, FIRST_HIGH);
	*exe = fcntl(*exe, F_DUPFD_CLOEXEC, FIRST_HIGH);
	if (l->sync < 0 || *exe < 0)
		return fault(-errno, "descriptors of PID 1");
	for (int i = 0; i < PLAN_FD_LIMIT; i++) {
		if (want[i] < 0)
			close(i);
		else if (dup2(want[i], i) < 0)
			return fault(-errno, "descriptor %d of PID 1", i);
	}
	close_range(PLAN_FD_LIMIT, FIRST_HIGH - 1, 0);
	for (uint32_t i = 0; i < l->passed_count; i++)
		if (dup2(l->passed[i].fd, PLAN_FD_PASSED + (int)i) < 0)
			return fault(-errno, "descriptor \"%s\" of the service", l->passed[i].name);
	/* what is above is close-on-exec already; said again, since a leak here is an escape */
	return close_range(FIRST_HIGH, ~0u, CLOSE_RANGE_CLOEXEC) == 0
		       ? 0
		       : fault(-errno, "close what is not PID 1's");
}

static void point_at(const struct plan *p, struct plan_range r, char **at, size_t max)
{
	char *s = (char *)(uintptr_t)p + r.off;

	for (uint32_t i = 0; i < r.count && i + 1 < max; i++) {
		*at++ = s;
		s += strlen(s) + 1;
	}
	*at = NULL;
}

/* With init: its exec is the end. Without: only the last word to launch; service_run() follows. */
int step_exec(struct launch *l)
{
	static char *argv[65536] = {(char *)(uintptr_t) "holdfast-init", (char *)(uintptr_t) "--"};
	static char *envp[] = {(char *)(uintptr_t) "HOLDFAST_INIT=1", NULL};
	int exe = l->exe, r;

	if (launch_flag(l, SETTINGS_NO_INIT)) {
		r = channel_send(l->sync, SYNC_EXEC, 0, NULL, 0, NULL, 0);
		fd_close(&l->sync);
		return r < 0 ? fault(r, "tell launch") : 0;
	}
	point_at(l->in.plan, l->in.plan->argv, argv + 2, array_size(argv) - 2);
	r = place_fds(l, &exe);
	if (r < 0)
		return r;
	signal(SIGPIPE, SIG_DFL);
	r = channel_send(l->sync, SYNC_EXEC, 0, NULL, 0, NULL, 0);
	if (r < 0)
		return fault(r, "tell launch");
	execveat(exe, "", argv, envp, AT_EMPTY_PATH);
	return fault(-errno, "exec holdfast-init");
}
