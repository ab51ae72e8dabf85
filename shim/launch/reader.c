/* How stage 1 is fenced in. The order matters: file and memfds are opened with privilege, then ids,
 * no_new_privs, limits, and the filter last, since each step needs what the next takes away. */
#include "shim/launch/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"
#include "ipc/base/mem.h"
#include "ipc/base/sig.h"
#include "ipc/verbs.h"
#include "shim/launch/bundle.h"

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#else
#error "the reader's filter needs this machine's AUDIT_ARCH_*"
#endif

#define CONFIG_MAX (4u << 20)
#define NOBODY	   65534
#define MEMORY_MAX (512u << 20)

enum { FD_CONFIG = 3, FD_SANDBOX, FD_PLAN, FD_END };

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#endif

static const unsigned reader_calls[] = {
#ifdef SANITIZED /* its run-time's own needs, at the end and for a report */
	SYS_sigaltstack, SYS_sched_yield, SYS_sched_getaffinity, SYS_readlink, SYS_openat,
#endif
	SYS_read, SYS_write, SYS_pread64, SYS_lseek, SYS_mmap, SYS_munmap, SYS_mremap, SYS_brk,
	SYS_madvise, SYS_fstat, SYS_newfstatat, SYS_close, SYS_memfd_create, SYS_fcntl, SYS_prctl,
	SYS_getrandom, SYS_futex, SYS_rt_sigprocmask, SYS_rt_sigaction, SYS_rt_sigreturn,
	SYS_getpid, SYS_gettid, SYS_tgkill, SYS_exit, SYS_exit_group};

/* Everything else fails with EPERM, which the parser meets as an ordinary error; no execve, no
 * open, no socket, no way to make memory executable. A number means another call by another
 * architecture's entry (int 0x80): only a process that was taken over tries that. */
static int fence(void)
{
	struct sock_filter f[array_size(reader_calls) + 16];
	struct sock_fprog prog = {.filter = f};
	unsigned n = 0, left;

	f[n++] = (struct sock_filter)BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
	f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE_ARCH, 1, 0);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	f[n++] = (struct sock_filter)BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 3);
	f[n++] = (struct sock_filter)BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2]));
	f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC,
		(unsigned char)(array_size(reader_calls) + 1), 0);
	f[n++] = (struct sock_filter)BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (left = array_size(reader_calls); left > 0; left--)
		f[n++] = (struct sock_filter)BPF_JUMP(
			BPF_JMP | BPF_JEQ | BPF_K, reader_calls[left - 1], (unsigned char)left, 0);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	prog.len = (unsigned short)n;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) == 0
		       ? 0
		       : fault(-errno, "config reader: its own filter");
}

static int limit(int resource, rlim_t value)
{
	return setrlimit(resource, &(struct rlimit){value, value});
}

static int drop(void)
{
	if (setgroups(0, NULL) != 0 || setresgid(NOBODY, NOBODY, NOBODY) != 0 ||
		setresuid(NOBODY, NOBODY, NOBODY) != 0)
		return fault(-errno, "config reader: become nobody");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 0) != 0)
		return fault(-errno, "config reader: no_new_privs");
#ifndef SANITIZED /* whose shadow memory is terabytes of addresses */
	if (limit(RLIMIT_AS, MEMORY_MAX) != 0)
		return fault(-errno, "config reader: limits");
#endif
	if (limit(RLIMIT_CORE, 0) != 0 || limit(RLIMIT_CPU, 10) != 0 ||
		limit(RLIMIT_FSIZE, SANDBOX_SIZE_MAX) != 0 || limit(RLIMIT_NOFILE, FD_END + 2) != 0)
		return fault(-errno, "config reader: limits");
	return fence();
}

static int place(const int *fds)
{
	int high[FD_END - FD_CONFIG];

	for (int i = 0; i < FD_END - FD_CONFIG; i++) {
		high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 64);
		if (high[i] < 0)
			return fault(-errno, "config reader: descriptors");
	}
	for (int i = 0; i < FD_END - FD_CONFIG; i++)
		if (dup2(high[i], FD_CONFIG + i) < 0)
			return fault(-errno, "config reader: descriptors");
	if (close_range(FD_END, ~0u, 0) != 0)
		return fault(-errno, "config reader: descriptors");
	return 0;
}

static char *slurp(size_t *len)
{
	struct stat st;
	size_t n = 0;
	char *text;

	if (fstat(FD_CONFIG, &st) != 0)
		return fault(-errno, "config.json"), NULL;
	if (!S_ISREG(st.st_mode))
		return fault_plain(-EINVAL, "config.json: not a regular file"), NULL;
	if (st.st_size > CONFIG_MAX)
		return fault_plain(-EINVAL, "config.json: %lld bytes, at most %u (make it smaller)",
			       (long long)st.st_size, CONFIG_MAX),
		       NULL;
	text = calloc(1, CONFIG_MAX + 1);
	if (!text)
		return fault(-ENOMEM, "config.json"), NULL;
	while (n < CONFIG_MAX) {
		ssize_t r = pread(FD_CONFIG, text + n, CONFIG_MAX - n, (off_t)n);

		if (r < 0)
			return free(text), fault(-errno, "config.json: read"), NULL;
		if (r == 0)
			break;
		n += (size_t)r;
	}
	*len = n;
	return text;
}

/* In the child, fenced. The exit status only says whether the memfds are whole. */
static int read_config(struct bundle *b)
{
	auto_free char *text = NULL;
	size_t len = 0;
	int r;

	text = slurp(&len);
	if (text) {
		r = bundle_read(b, text, len);
	} else {
		r = -EINVAL;
		blob_init(&b->blob, sizeof(b->head));
		blob_init(&b->plan_blob, sizeof(b->plan));
	}
	if (r < 0) {
		b->head.outcome = LAUNCH_BAD_CONFIG;
		snprintf(b->head.error, sizeof(b->head.error), "%s", fault_text());
	}
	bundle_seal(b);
	r = write_all(FD_SANDBOX, b->blob.data, b->blob.len);
	if (r == 0)
		r = write_all(FD_PLAN, b->plan_blob.data, b->plan_blob.len);
	bundle_finish(b);
	return r;
}

static bool lsm_active(void)
{
	return access("/sys/kernel/security/apparmor/profiles", F_OK) == 0 ||
	       access("/sys/fs/selinux/enforce", F_OK) == 0;
}

static __attribute__((noreturn)) void child(
	const int *fds, int state_dirfd, const struct settings *set)
{
	static struct bundle b;
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	char state[40];

	snprintf(state, sizeof(state), "/proc/self/fd/%d", state_dirfd);
	b = (struct bundle){.set = set, .cpus = cpus > 0 ? (unsigned)cpus : 1};
	b.has_lsm = lsm_active();
	if (readlink(state, b.state_dir, sizeof(b.state_dir) - 1) < 0)
		b.state_dir[0] = '\0';
	if (place(fds) < 0 || drop() < 0) {
		dprintf(STDERR_FILENO, "%s\n", fault_text());
		_exit(2);
	}
	close(STDIN_FILENO);
	_exit(read_config(&b) < 0 ? 3 : 0);
}

static int wait_child(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return fault(-errno, "config reader: wait");
	if (WIFSIGNALED(status))
		return fault_plain(-EINVAL, "config.json: its reader died of %s (too large?)",
			sig_name(WTERMSIG(status)));
	if (WEXITSTATUS(status) != 0)
		return fault_plain(-EIO, "config reader: failed with status %d (see shim.log)",
			WEXITSTATUS(status));
	return 0;
}

static void *map(int fd, size_t max, int prot, size_t *size)
{
	struct stat st;
	void *p;

	if (fstat(fd, &st) != 0 || st.st_size <= 0 || (size_t)st.st_size > max)
		return NULL;
	*size = (size_t)st.st_size;
	p = mmap(NULL, *size, prot, MAP_SHARED, fd, 0);
	return p == MAP_FAILED ? NULL : p;
}

static int check_plan(const struct plan *p, size_t size)
{
	const struct {
		struct plan_range r;
		uint32_t elem;
	} ranges[] = {{p->argv, 1}, {p->envp, 1}, {p->cwd, 1}, {p->groups, 4},
		{p->rlimits, sizeof(struct plan_rlimit)}, {p->filter, sizeof(struct sock_filter)}};

	if (size < sizeof(*p) || p->magic != PLAN_MAGIC || p->size != size)
		return fault_plain(-EBADMSG, "the init plan is damaged: header");
	for (size_t i = 0; i < array_size(ranges); i++)
		if ((ranges[i].r.len || ranges[i].r.count) &&
			!plan_range(p, ranges[i].r, ranges[i].elem))
			return fault_plain(-EBADMSG, "the init plan is damaged: range %zu", i);
	if (p->argv.count < 1 || p->cwd.count != 1)
		return fault_plain(-EBADMSG, "the init plan is damaged: argv or cwd");
	return 0;
}

static int collect(int sandbox_fd, struct reading *ret)
{
	size_t size = 0;
	int r;

	/* No more writers: the child is gone, and what is checked must not change. */
	if (fcntl(sandbox_fd, F_ADD_SEALS,
		    F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
		return fault(-errno, "config reader: seal");
	ret->sandbox = map(sandbox_fd, SANDBOX_SIZE_MAX, PROT_READ, &size);
	if (!ret->sandbox)
		return fault_plain(-EBADMSG, "the flat form of config.json is damaged: size");
	r = sandbox_check(ret->sandbox, size);
	if (r < 0 || ret->sandbox->outcome != LAUNCH_OK)
		return r;
	ret->plan = map(ret->plan_fd, PLAN_SIZE_MAX, PROT_READ | PROT_WRITE, &size);
	if (!ret->plan)
		return fault_plain(-EBADMSG, "the init plan is damaged: size");
	return check_plan(ret->plan, size);
}

int reader_run(int state_dirfd, const struct settings *set, struct reading *ret)
{
	auto_fd config = openat(state_dirfd, "config.json", O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	auto_fd sandbox = memfd_create("sandbox", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int fds[3];
	pid_t pid;
	int r;

	*ret = (struct reading){.plan_fd = -1};
	if (config < 0)
		return fault(-errno, "open config.json in the state directory");
	ret->plan_fd = memfd_create("plan", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (sandbox < 0 || ret->plan_fd < 0)
		return fault(-errno, "config reader: memfd");
	fds[0] = config;
	fds[1] = sandbox;
	fds[2] = ret->plan_fd;
	pid = fork();
	if (pid == 0)
		child(fds, state_dirfd, set);
	if (pid < 0)
		return fault(-errno, "config reader: fork");
	r = wait_child(pid);
	return r < 0 ? r : collect(sandbox, ret);
}

/* F_SEAL_WRITE is refused while a writable shared mapping exists anywhere, the clone's parent
 * included. */
int reader_freeze(struct reading *ret)
{
	size_t size = ret->plan->size;
	void *p;

	munmap(ret->plan, size);
	p = mmap(NULL, size, PROT_READ, MAP_PRIVATE, ret->plan_fd, 0);
	ret->plan = p == MAP_FAILED ? NULL : p;
	return ret->plan ? 0 : fault(-errno, "init plan: map");
}

int reader_seal(const struct reading *ret)
{
	if (fcntl(ret->plan_fd, F_ADD_SEALS,
		    F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
		return fault(-errno, "init plan: seal");
	return 0;
}
