#include "init/alone.h"

#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "init/exec.h"
#include "init/relay.h"
#include "init/say.h"
#include "init/sys.h"
#include "ipc/exec_search.h"

/* In a process group of its own, and in front of the terminal if there is one: what the terminal
 * sends reaches the command and its jobs directly, and us not at all. SIGTTOU is blocked still. */
static int child(char **argv, char **envp)
{
	pid_t self = getpid();
	int err;

	setpgid(0, 0);
	if (isatty(0) && ioctl(0, TIOCSPGRP, &self) < 0 && errno != ENOTTY && errno != ENXIO)
		say("cannot hand over the terminal", NULL, errno);
	sys_sigmask(0);
	err = exec_search(argv, envp);
	say(err == -ENOENT ? "command not found" : "command cannot be executed", argv[0], err);
	return exec_failure_code(err);
}

/* Reaps; the status to exit with once the command is among them, else -1. */
static int reap(pid_t main)
{
	siginfo_t info;

	while (sys_wait(&info, NULL, WNOHANG) > 0)
		if (info.si_pid == main)
			return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
	return -1;
}

static int supervise(pid_t main, uint64_t mask)
{
	int status = -1;

	while (status < 0) {
		siginfo_t info;
		int signo = (int)syscall(SYS_rt_sigtimedwait, &mask, &info, NULL, sizeof(mask));

		if (signo == SIGCHLD)
			status = reap(main);
		else if (signo > 0 && relay_translate(signo, 1))
			kill(main, relay_translate(signo, 1));
	}
	return status;
}

int alone_main(char **argv, char **envp)
{
	uint64_t mask = relay_blocked();
	pid_t pid;

	if (argv[0] && !strcmp(argv[0], "--"))
		argv++;
	if (!argv[0]) {
		say("no command: use holdfast-init [--] COMMAND [ARG...]", NULL, 0);
		return 64;
	}
	sys_default_handlers();
	sys_sigmask(mask);
	if (getpid() != 1 && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		say("not process 1, and orphans will not be reaped", NULL, errno);
	pid = sys_fork(NULL);
	if (pid == 0)
		return child(argv, envp);
	if (pid < 0) {
		say("fork", NULL, pid);
		return 125;
	}
	return supervise(pid, mask);
}
