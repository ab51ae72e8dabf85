#include "cli/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/caps.h"
#include "cli/keeper_start.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"
#include "ipc/base/have.h"
#include "ipc/base/proc.h"

#define note_set(note, ...) snprintf(note, PROBE_NOTE, __VA_ARGS__)

static enum probe_answer no(char note[PROBE_NOTE], int err)
{
	note_set(note, "%s", strerror(err));
	return PROBE_NO;
}

enum probe_answer probe_kernel(long arg, char note[PROBE_NOTE])
{
	unsigned major = 0, minor = 0;
	struct utsname u;

	uname(&u);
	note_set(note, "%s", u.release);
	sscanf(u.release, "%u.%u", &major, &minor);
	return major > 6 || (major == 6 && minor >= 1) ? PROBE_YES : PROBE_LIMITED;
}

enum probe_answer probe_root(long arg, char note[PROBE_NOTE])
{
	note_set(note, "uid %u", geteuid());
	return geteuid() == 0 ? PROBE_YES : PROBE_NO;
}

enum probe_answer probe_programs(long arg, char note[PROBE_NOTE])
{
	if (keeper_check() == 0)
		return PROBE_YES;
	note_set(note, "%s", fault_text());
	return PROBE_NO;
}

static uint64_t own_caps(void)
{
	char text[4096];
	const char *line;

	if (file_read_buf(AT_FDCWD, "/proc/self/status", text, sizeof(text)) < 0)
		return 0;
	line = strstr(text, "\nCapEff:");
	return line ? strtoull(line + 8, NULL, 16) : 0;
}

/* SYS_ADMIN is what a sandbox can't be made without; the others are missed when they are used. */
enum probe_answer probe_caps(long arg, char note[PROBE_NOTE])
{
	uint64_t have = own_caps();
	size_t at = 0;

	for (unsigned i = 0; caps_name(i); i++) {
		int n;

		if (have & (1ULL << i))
			continue;
		n = snprintf(note + at, PROBE_NOTE - at, "%s%s",
			at ? " " : "missing: ", caps_name(i) + strlen("CAP_"));
		if (n < 0 || at + (size_t)n >= PROBE_NOTE)
			break;
		at += (size_t)n;
	}
	if (at == 0)
		return PROBE_YES;
	return have & caps_parse("SYS_ADMIN") ? PROBE_LIMITED : PROBE_NO;
}

static enum probe_answer try_filter(void)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog prog = {.len = 1, .filter = &allow};
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		_exit(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0 ? errno : 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return PROBE_NO;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? PROBE_YES : PROBE_NO;
}

enum probe_answer probe_seccomp(long arg, char note[PROBE_NOTE])
{
	return try_filter();
}

enum probe_answer probe_openat2(long arg, char note[PROBE_NOTE])
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};
	auto_fd fd = (int)syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof(how));

	return fd < 0 ? no(note, errno) : PROBE_YES;
}

enum probe_answer probe_pidfd(long arg, char note[PROBE_NOTE])
{
	auto_fd fd = pidfd_open_pid(getpid());

	return fd < 0 ? no(note, -fd) : PROBE_YES;
}

/* Does the kernel keep a reaped child's status for whoever holds its pidfd? */
enum probe_answer probe_pidfd_exit(long arg, char note[PROBE_NOTE])
{
	pid_t pid = fork();
	auto_fd fd = -1;
	int r, status;

	if (pid < 0)
		return no(note, errno);
	if (pid == 0)
		_exit(7);
	fd = pidfd_open_pid(pid);
	waitpid(pid, NULL, 0);
	if (fd < 0)
		return no(note, -fd);
	if (!have(HAVE_PIDFD_EXIT)) {
		note_set(note, "since Linux %s, taken away by HOLDFAST_KERNEL",
			have_since(HAVE_PIDFD_EXIT));
		return PROBE_NO;
	}
	r = pidfd_exit_status(fd, &status);
	if (r < 0)
		return no(note, -r);
	return WEXITSTATUS(status) == 7 ? PROBE_YES : PROBE_NO;
}

enum probe_answer probe_pipe(long arg, char note[PROBE_NOTE])
{
	int ends[2], size;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return no(note, errno);
	size = fcntl(ends[0], F_SETPIPE_SZ, 1 << 20);
	if (size < 0)
		size = fcntl(ends[0], F_GETPIPE_SZ);
	close(ends[0]);
	close(ends[1]);
	note_set(note, "%d KiB", size / 1024);
	return size >= 1 << 20 ? PROBE_YES : PROBE_LIMITED;
}
