/* Stands in for a program and runs it under strace, which kills it at its N-th system call (or
 * makes that call fail). Only the first process that comes gets this treatment; its successors run
 * plain.
 *
 * HOLDFAST_TEST_KILLAT="FLAG REAL INJECT": FLAG is a file that the first one creates, REAL the
 * program, INJECT strace's inject expression. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Out of the supervisors' own cgroup, which is removed when they leave: the tracer would hold it.
 */
static void leave_cgroup(void)
{
	static const char *const roots[] = {
		"/sys/fs/cgroup/unified/cgroup.procs", "/sys/fs/cgroup/cgroup.procs"};

	for (int i = 0; i < 2; i++) {
		int fd = open(roots[i], O_WRONLY | O_CLOEXEC);

		if (fd >= 0 && write(fd, "0", 1) < 0)
			perror(roots[i]);
		if (fd >= 0)
			close(fd);
	}
}

int main(int argc, char **argv)
{
	const char *how = getenv("HOLDFAST_TEST_KILLAT");
	char flag[512], real[512], out[512], inject[512];
	const char *const fixed[] = {"strace", "-D", "-qq", "-o", out, "-e", inject, real};
	char *args[16];
	int fd, n = sizeof(fixed) / sizeof(fixed[0]);

	if (!how || sscanf(how, "%511s %511s %511s %511s", flag, real, out, inject) != 4)
		return 64;
	for (int i = 0; i < n; i++)
		args[i] = (char *)(uintptr_t)fixed[i];
	for (int i = 1; i < argc && n < 15; i++)
		args[n++] = argv[i];
	args[n] = NULL;
	fd = open(flag, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		execv(real, argv);
	} else {
		leave_cgroup();
		execv("/usr/bin/strace",
			args); /* -D: we stay the parent's child, strace is its own */
	}
	return 125;
}
