/* How a start failed, or a run ended: in words, and as a status. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "cli/attach.h"
#include "cli/command.h"
#include "ipc/base/mem.h"

int attach_failed(const struct launch_result *failed)
{
	static const int status[] = {
		[LAUNCH_BAD_CONFIG] = CLI_USAGE,
		[LAUNCH_FAILED] = CLI_BROKEN,
		[LAUNCH_NOT_FOUND] = CLI_NOT_FOUND,
		[LAUNCH_NOT_EXEC] = CLI_NOT_EXEC,
	};

	complain("%.*s", (int)sizeof(failed->text) - 1, failed->text);
	if (failed->outcome == LAUNCH_OK || failed->outcome >= array_size(status))
		return CLI_BROKEN;
	return status[failed->outcome];
}

void attach_warnings(const struct client_started *started)
{
	const char *p = started->text, *end = memchr(p, '\0', sizeof(started->text));

	for (end = end ? end : p + sizeof(started->text); p < end;) {
		size_t n = strcspn(p, "\n");

		if (n)
			complain("warning: %.*s", (int)n, p);
		p += n + (p + n < end);
	}
}

static const char *step_name(uint32_t step)
{
	static const char *const names[] = {
		[SPAWN_FORK] = "fork",
		[SPAWN_PIPES] = "make pipes for",
		[SPAWN_SESSION] = "make a session for",
		[SPAWN_TTY] = "set up the terminal of",
		[SPAWN_STDIO] = "set up stdio of",
		[SPAWN_RLIMIT] = "set resource limits of",
		[SPAWN_CWD] = "enter the working directory of",
		[SPAWN_GROUPS] = "set groups of",
		[SPAWN_IDS] = "set user and group of",
		[SPAWN_CAPS] = "set capabilities of",
		[SPAWN_NO_NEW_PRIVS] = "set no_new_privs of",
		[SPAWN_SECCOMP] = "install the seccomp filter of",
		[SPAWN_EXEC] = "exec",
		[SPAWN_PASS] = "listeners",
		[SPAWN_EXEC_PLAN] = "read the plan of",
	};

	return step < array_size(names) && names[step] ? names[step] : "start";
}

static const char *start_cure(const struct exit_info *e)
{
	if (e->step == SPAWN_CWD)
		return "-w names a directory that exists inside";
	if (e->step != SPAWN_EXEC)
		return "holdfast check tells what this host can do";
	if (e->errnum == ENOENT)
		return "is it, and its interpreter, in the container's root and PATH?";
	if (e->errnum == EACCES)
		return "is it executable for the container's user?";
	return "is it a program for this machine?";
}

static int start_failed(const struct exit_info *e, const char *command)
{
	bool missing = e->step == SPAWN_EXEC && e->errnum == ENOENT;

	complain("%s \"%s\": %s (%s)", step_name(e->step), command ? command : "the command",
		strerror(e->errnum < 0 ? -e->errnum : e->errnum), start_cure(e));
	return missing ? CLI_NOT_FOUND : CLI_NOT_EXEC;
}

bool attach_removes(const struct exit_info *e)
{
	return (e->flags & EXIT_START_FAILED) && e->run == 1;
}

int attach_ended(const struct exit_info *e, const char *command)
{
	if (e->flags & EXIT_START_FAILED)
		return start_failed(e, command);
	if (e->reason == POLICY_WHY_BUDGET)
		complain(
			"the restart budget is used up after %llu restarts: it stays down (--restart-budget, or --restart on-failure:N, sets it)",
			(unsigned long long)e->restarts);
	if ((e->flags & EXIT_OOM_SEEN) && e->signal == SIGKILL)
		complain("OOM: killed for lack of memory (--memory sets the limit)");
	if (e->flags & EXIT_UNKNOWN)
		complain("how the service ended is not known: nobody saw it");
	return exit_status(e);
}
