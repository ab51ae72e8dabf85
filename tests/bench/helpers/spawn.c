/* Runs a command again and again and says how long each took: one line "WALL CPU" in microseconds,
 * from before the fork until the command is reaped. CPU is of the command and all that it waited
 * for. --new: the child is made in new namespaces of every kind but user, the physical floor of a
 * container. A command that fails ends it: what fails early is no measurement. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NEW \
	(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP)

extern char **environ;

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static uint64_t usec(struct timeval t)
{
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_usec;
}

/* The memory is shared until exec, as with vfork, but with the flags of a container. */
static pid_t child_in_new_namespaces(char **argv, const int *null)
{
	struct clone_args args = {.flags = NEW | CLONE_VFORK, .exit_signal = SIGCHLD};
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

	if (pid == 0) {
		dup2(*null, STDOUT_FILENO);
		execve(argv[0], argv, environ);
		_exit(127);
	}
	return pid;
}

static pid_t child(char **argv, const int *null)
{
	pid_t pid = vfork();

	if (pid == 0) {
		dup2(*null, STDOUT_FILENO);
		execv(argv[0], argv);
		_exit(127);
	}
	return pid;
}

static int once(char **argv, int new, int null)
{
	uint64_t start = now(), wall;
	struct rusage use;
	int status;
	pid_t pid = new ? child_in_new_namespaces(argv, &null) : child(argv, &null);

	if (pid < 0) {
		fprintf(stderr, "spawn: fork: %s\n", strerror(errno));
		return 1;
	}
	while (wait4(pid, &status, 0, &use) < 0)
		if (errno != EINTR)
			return 1;
	wall = now() - start;
	if (status != 0) {
		fprintf(stderr, "spawn: %s: wait status %#x\n", argv[0], (unsigned)status);
		return 1;
	}
	printf("%llu %llu\n", (unsigned long long)wall,
		(unsigned long long)(usec(use.ru_utime) + usec(use.ru_stime)));
	return 0;
}

int main(int argc, char **argv)
{
	int new = argc > 1 && strcmp(argv[1], "--new") == 0;
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct timespec gap;
	long count;

	argv += new;
	argc -= new;
	if (argc < 4 || null < 0) {
		fprintf(stderr, "spawn [--new] COUNT GAP_USEC /COMMAND [ARG...]\n");
		return 64;
	}
	count = strtol(argv[1], NULL, 10);
	gap.tv_sec = strtol(argv[2], NULL, 10) / 1000000;
	gap.tv_nsec = strtol(argv[2], NULL, 10) % 1000000 * 1000;
	for (long i = 0; i < count; i++) {
		if (gap.tv_sec || gap.tv_nsec)
			nanosleep(&gap, NULL);
		if (once(argv + 3, new, null) != 0)
			return 1;
	}
	return 0;
}
