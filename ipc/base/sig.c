#include "ipc/base/sig.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define KERNEL_RTMIN 32 /* the kernel's own, which PID 1 may forward; libc hides the first two */
#define KERNEL_RTMAX 64

static const char *const table[32] = {
	[SIGHUP] = "SIGHUP",
	[SIGINT] = "SIGINT",
	[SIGQUIT] = "SIGQUIT",
	[SIGILL] = "SIGILL",
	[SIGTRAP] = "SIGTRAP",
	[SIGABRT] = "SIGABRT",
	[SIGBUS] = "SIGBUS",
	[SIGFPE] = "SIGFPE",
	[SIGKILL] = "SIGKILL",
	[SIGUSR1] = "SIGUSR1",
	[SIGSEGV] = "SIGSEGV",
	[SIGUSR2] = "SIGUSR2",
	[SIGPIPE] = "SIGPIPE",
	[SIGALRM] = "SIGALRM",
	[SIGTERM] = "SIGTERM",
	[SIGSTKFLT] = "SIGSTKFLT",
	[SIGCHLD] = "SIGCHLD",
	[SIGCONT] = "SIGCONT",
	[SIGSTOP] = "SIGSTOP",
	[SIGTSTP] = "SIGTSTP",
	[SIGTTIN] = "SIGTTIN",
	[SIGTTOU] = "SIGTTOU",
	[SIGURG] = "SIGURG",
	[SIGXCPU] = "SIGXCPU",
	[SIGXFSZ] = "SIGXFSZ",
	[SIGVTALRM] = "SIGVTALRM",
	[SIGPROF] = "SIGPROF",
	[SIGWINCH] = "SIGWINCH",
	[SIGIO] = "SIGIO",
	[SIGPWR] = "SIGPWR",
	[SIGSYS] = "SIGSYS",
};

static int parse_number(const char *text, int base, int max)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || n < 0 || n > max)
		return -EINVAL;
	return base + (int)n;
}

int sig_parse(const char *text)
{
	int n = parse_number(text, 0, KERNEL_RTMAX);

	if (n > 0)
		return n;
	if (strncasecmp(text, "SIG", 3) == 0)
		text += 3;
	if (strcasecmp(text, "RTMIN") == 0)
		return SIGRTMIN;
	if (strncasecmp(text, "RTMIN+", 6) == 0)
		return parse_number(text + 6, SIGRTMIN, SIGRTMAX - SIGRTMIN);
	for (int i = 1; i < 32; i++)
		if (table[i] && strcasecmp(text, table[i] + 3) == 0)
			return i;
	return -EINVAL;
}

const char *sig_name(int signo)
{
	static _Thread_local char rt[24];

	if (signo > 0 && signo < 32 && table[signo])
		return table[signo];
	if (signo < KERNEL_RTMIN || signo > KERNEL_RTMAX)
		return "SIG?";
	snprintf(rt, sizeof(rt), "SIGRTMIN+%d", signo - SIGRTMIN);
	return rt;
}
