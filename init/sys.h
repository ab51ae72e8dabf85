/* Kernel calls that musl has no wrapper for, or whose wrapper does more than the call: musl's
 * set*id calls go around all threads, its signal sets leave out 32-34 (which a service may well
 * use). */
#pragma once

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIGNALS 64

#ifndef SYS_process_mrelease /* Linux 5.15; one number on all architectures, like all newer calls \
			      */
#define SYS_process_mrelease 448
#endif

static inline int sys_result(long r)
{
	return r < 0 ? -errno : (int)r;
}

static inline uint64_t sig_bit(int signo)
{
	return 1ULL << (signo - 1);
}

static inline int sys_sigmask(uint64_t blocked)
{
	return sys_result(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &blocked, 0, sizeof(blocked)));
}

static inline void sys_default_handlers(void)
{
	static const struct {
		void *handler;
		unsigned long flags;
		void *restorer;
		uint64_t mask;
	} none;

	for (int i = 1; i <= SIGNALS; i++) /* SIGKILL and SIGSTOP answer EINVAL: nothing to reset */
		syscall(SYS_rt_sigaction, i, &none, 0, sizeof(none.mask));
}

/* The next zombie, or whatever `flags` say: > 0 its pid, 0 none yet, -ECHILD no child at all.
 * __WALL: a child handed over to us may have been cloned with any exit signal. */
static inline int sys_wait(siginfo_t *info, struct rusage *ru, int flags)
{
	info->si_pid = 0;
	if (syscall(SYS_waitid, P_ALL, 0, info, WEXITED | __WALL | flags, ru) < 0)
		return -errno;
	return info->si_pid;
}

#define CLONE_WITH_PIDFD \
	0x1000 /* CLONE_PIDFD of linux/sched.h, which clashes with musl's sched.h */

/* Fork without atfork handlers and signal juggling, and with the pidfd in one go (NULL: none). Not
 * clone3: a filter can't look at its flags, so ours answers it with ENOSYS. */
static inline pid_t sys_fork(int *pidfd)
{
	return sys_result(
		syscall(SYS_clone, (pidfd ? CLONE_WITH_PIDFD : 0) | SIGCHLD, 0, pidfd, 0, 0));
}

/* Was it killed and only has not ended yet? process_mrelease(2) refuses any other process with
 * EINVAL; of one that was it frees the memory at once, as the kernel's OOM reaper would. Unlike a
 * look into /proc it allocates nothing: at the memory limit that would be the next OOM kill
 * (measured). */
static inline int sys_dying(int pidfd)
{
	int r = sys_result(syscall(SYS_process_mrelease, pidfd, 0));

	return r == 0 || r == -ESRCH || r == -EAGAIN;
}

static inline int sys_pidfd_signal(int pidfd, int signo)
{
	return sys_result(syscall(SYS_pidfd_send_signal, pidfd, signo, 0, 0));
}
