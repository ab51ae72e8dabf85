/* Memory, processes, and what else a bad service leaves behind. Everything is bounded. */
#include "tests/helpers/torture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FORKS_MAX 4096

static void eat(long mib)
{
	for (long i = 0; i < mib; i++) {
		char *p = mmap(
			NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			return;
		memset(p, (int)i + 1, 1 << 20);
	}
}

int torture_eat(int argc, char **argv)
{
	long mib = torture_number(argc, argv, 1, 64);

	torture_say("eating");
	eat(mib);
	torture_say("ate %ld", mib);
	return torture_sleep_for_ever();
}

/* eat-child MIB: the service itself stays small and alive; the child is the one that is killed. */
int torture_eat_child(int argc, char **argv)
{
	long mib = torture_number(argc, argv, 1, 64);
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		eat(mib);
		_exit(0);
	}
	torture_say("child");
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	torture_say("child %s %d", WIFSIGNALED(status) ? "signal" : "exit",
		WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	return torture_sleep_for_ever();
}

/* Never the same pid for longer than a fork takes: what a loop over a list of pids can't kill. */
static void hop(void)
{
	const struct timespec breath = {0, 1000000};

	for (;;) {
		pid_t pid = fork();

		if (pid > 0)
			_exit(0);
		if (pid < 0)
			nanosleep(&breath, NULL); /* the group's limit */
	}
}

int torture_storm(int argc, char **argv)
{
	long want = torture_number(argc, argv, 1, 20);

	signal(SIGCHLD, SIG_IGN);
	for (long i = 0; i < want && i < FORKS_MAX; i++)
		if (fork() == 0)
			hop();
	torture_say("storm");
	return torture_sleep_for_ever();
}

int torture_forks(int argc, char **argv)
{
	long want = torture_number(argc, argv, 1, 100), got = 0;
	size_t each = (size_t)torture_number(argc, argv, 2, 0) << 10;
	char *memory = NULL;
	int err = 0;

	if (want > FORKS_MAX)
		want = FORKS_MAX;
	if (each)
		memory = malloc(each);
	while (got < want) {
		pid_t pid = fork();

		if (pid == 0) {
			if (memory)
				explicit_bzero(memory, each); /* what no compiler leaves out */
			return torture_sleep_for_ever();
		}
		if (pid < 0) {
			err = errno;
			break;
		}
		got++;
	}
	torture_say("forked %ld errno %d", got, err);
	return torture_sleep_for_ever();
}

static void daemon_away(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		setsid();
		if (fork() == 0) {
			signal(SIGTERM, SIG_IGN);
			signal(SIGHUP, SIG_IGN);
			torture_sleep_for_ever();
		}
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

int torture_daemons(int argc, char **argv)
{
	long n = torture_number(argc, argv, 1, 1);
	long status = torture_number(argc, argv, 2, -1);

	for (long i = 0; i < n && i < FORKS_MAX; i++)
		daemon_away();
	torture_say("daemons %ld", n);
	return status >= 0 ? (int)status : torture_sleep_for_ever();
}

/* Orphans that end at once: PID 1 must reap them all. */
int torture_zombies(int argc, char **argv)
{
	long n = torture_number(argc, argv, 1, 10);

	for (long i = 0; i < n && i < FORKS_MAX; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			if (fork() == 0)
				_exit(0);
			_exit(0);
		}
		waitpid(pid, NULL, 0);
	}
	torture_say("orphans %ld", n);
	return torture_sleep_for_ever();
}

int torture_leak(int argc, char **argv)
{
	int shm = shmget(IPC_PRIVATE, 1 << 16, IPC_CREAT | 0600);
	int sem = semget(IPC_PRIVATE, 1, IPC_CREAT | 0600);
	int msg = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
	int fd = open("/dev/shm/leaked", O_RDWR | O_CREAT, 0600);

	if (fd >= 0 && ftruncate(fd, 1 << 16) == 0)
		torture_say("leaked %d %d %d", shm >= 0, sem >= 0, msg >= 0);
	return (int)torture_number(argc, argv, 1, 1);
}
