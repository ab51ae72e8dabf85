#include "init/relay.h"

#include <sys/ioctl.h>
#include <sys/signalfd.h>

#include "init/pid1.h"
#include "init/sys.h"

#define TURN_MAX 64

uint64_t relay_blocked(void)
{
	return ~(sig_bit(SIGSEGV) | sig_bit(SIGBUS) | sig_bit(SIGFPE) | sig_bit(SIGILL) |
		 sig_bit(SIGTRAP) | sig_bit(SIGSYS));
}

/* The service leads a session whose parent is elsewhere, so its process group is orphaned and the
 * kernel discards the terminal's stop signals there: SIGTSTP becomes SIGSTOP, unless a terminal's
 * foreground group takes it. SIGTTIN and SIGTTOU are about our own use of a terminal. */
int relay_translate(int signo, bool tty)
{
	switch (signo) {
	case SIGCHLD:
	case SIGTTIN:
	case SIGTTOU:
		return 0;
	case SIGTSTP:
		return tty ? SIGTSTP : SIGSTOP;
	default:
		return signo;
	}
}

int relay_service(struct pid1 *p, int signo)
{
	return p->run.child.pid > 0 ? sys_pidfd_signal(p->run.child.pidfd, signo) : -ESRCH;
}

int relay_everybody(const struct pid1 *p, int signo)
{
	if (getpid() != 1 || !(p->plan.flags & PLAN_OWN_PIDNS))
		return -EPERM;
	return sys_result(kill(-1, signo));
}

/* What a person at a terminal means for the job in front. The master tells the group; the slave
 * would only answer to processes of its own session. */
static bool to_foreground(struct pid1 *p, int signo)
{
	pid_t group = 0;

	if (!(p->plan.flags & PLAN_TTY) || !pid1_has(p, PLAN_FD_TTY))
		return false;
	if (signo != SIGINT && signo != SIGQUIT && signo != SIGTSTP && signo != SIGWINCH)
		return false;
	return ioctl(PLAN_FD_TTY, TIOCGPGRP, &group) == 0 && group > 1 && kill(-group, signo) == 0;
}

static void forward(struct pid1 *p, const struct signalfd_siginfo *si)
{
	int signo = (int)si->ssi_signo;

	/* The kernel shows a sender outside our pid namespace as process 0. */
	if (signo == SIGTERM && si->ssi_pid == 0) {
		run_stop(p, 0, p->plan.stop_grace_usec);
		return;
	}
	signo = relay_translate(signo, p->plan.flags & PLAN_TTY);
	if (signo && !to_foreground(p, signo))
		relay_service(p, signo);
}

bool relay_read(struct pid1 *p)
{
	struct signalfd_siginfo si;
	bool children = false;

	/* No more in a turn: who raises signals faster than they are read would be all that PID 1
	 * does. What is left makes the next turn begin at once. */
	for (int n = 0; n < TURN_MAX && read(p->signals, &si, sizeof(si)) == (ssize_t)sizeof(si);
		n++) {
		if (si.ssi_signo == SIGCHLD)
			children = true;
		else
			forward(p, &si);
	}
	return children;
}
