#include "shim/dump.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"
#include "ipc/base/mem.h"
#include "ipc/base/slice.h"
#include "ipc/fds.h"
#include "shim/shim.h"

#define DUMPS	  4u
#define PIDS_MAX  256u
#define FDS_MAX	  64u
#define DUMP_MAX  (256u << 10)
#define PROCS_MAX (1u << 20)
#define TIME_USEC (250 * USEC_PER_MSEC) /* everybody else of the shim waits meanwhile */

static void one_file(FILE *f, const char *pid, const char *name, const char *title)
{
	char path[64], text[2048];

	snprintf(path, sizeof(path), "/proc/%s/%s", pid, name);
	if (file_read_buf(AT_FDCWD, path, text, sizeof(text)) <= 0)
		return;
	for (char *p = text; *p; p++)
		if (*p != '\n' && ((unsigned char)*p < ' ' || *p == 127))
			*p = ' ';
	text[strcspn(text, "\n") +
		(strcmp(name, "stack") == 0 ? strlen(text) - strcspn(text, "\n") : 0)] = '\0';
	fprintf(f, "  %s %s\n", title, text);
}

/* Its memory in use and its state; the rest of the file is for others. */
static void status(FILE *f, const char *pid)
{
	static const char *const keys[] = {"State:", "PPid:", "NSpid:", "VmRSS:", "Threads:"};
	char path[64], text[4096];

	snprintf(path, sizeof(path), "/proc/%s/status", pid);
	if (file_read_buf(AT_FDCWD, path, text, sizeof(text)) <= 0)
		return;
	for (size_t i = 0; i < array_size(keys); i++) {
		const char *at = strstr(text, keys[i]);

		if (at)
			fprintf(f, "  %.*s\n", (int)strcspn(at, "\n"), at);
	}
}

static void open_files(FILE *f, const char *pid)
{
	char path[64], target[256];
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	d = opendir(path);
	for (struct dirent *e; d && (e = readdir(d));) {
		ssize_t len = readlinkat(dirfd(d), e->d_name, target, sizeof(target) - 1);

		if (len < 0)
			continue;
		if (n++ < FDS_MAX)
			fprintf(f, "  fd %s %.*s\n", e->d_name, (int)len, target);
	}
	if (n > FDS_MAX)
		fprintf(f, "  and %u more\n", n - FDS_MAX);
	if (d)
		closedir(d);
}

static void process(FILE *f, const char *pid)
{
	fprintf(f, "process %s\n", pid);
	one_file(f, pid, "comm", "name");
	one_file(f, pid, "cmdline", "command");
	status(f, pid);
	one_file(f, pid, "wchan", "waits in");
	one_file(f, pid, "stack", "kernel stack");
	open_files(f, pid);
}

/* Counts them all and shows as many as there is time for. */
static unsigned processes(const struct shim *s, FILE *f)
{
	const char *root = s->hier.unified[0] ? s->hier.unified : s->hier.at[CG_MEMORY].root;
	uint64_t until = now_mono() + TIME_USEC;
	auto_free char *all = NULL;
	char path[512], *save = NULL;
	unsigned n = 0;

	snprintf(path, sizeof(path), "%s%s/cgroup.procs", root, s->settings.cgroup);
	if (file_read(AT_FDCWD, path, PROCS_MAX, &all) < 0)
		return 0;
	for (char *pid = strtok_r(all, "\n", &save); pid; pid = strtok_r(NULL, "\n", &save))
		if (n++ < PIDS_MAX && ftell(f) < (long)DUMP_MAX && now_mono() < until)
			process(f, pid);
	return n;
}

/* Nobody waits for it: init of the host reaps it. */
static int start_hook(const struct shim *s, const char *hook, const char *file, const char *rule)
{
	char *argv[] = {(char *)(uintptr_t)hook, (char *)(uintptr_t)s->settings.id,
		(char *)(uintptr_t)file, (char *)(uintptr_t)rule, NULL};
	pid_t pid = fork();

	if (pid < 0)
		return fault(-errno, "dump: fork");
	if (pid == 0) {
		sigset_t none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		signal(SIGPIPE, SIG_DFL);
		slice_come_forward();
		if (fork() == 0) {
			setsid();
			execve(hook, argv, environ);
		}
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	return 0;
}

int dump_write(struct shim *s, const char *rule, const char *why, const char *hook, char *text,
	size_t size)
{
	auto_free char *data = NULL;
	char name[32], path[512];
	size_t len = 0;
	unsigned n;
	FILE *f = open_memstream(&data, &len);
	int r;

	if (!f)
		return fault(-ENOMEM, "dump");
	fprintf(f, "container %s, run %u, rule %s: %s\n", s->settings.id, s->journal.now.run, rule,
		why);
	n = processes(s, f);
	fclose(f);
	snprintf(name, sizeof(name), "dump-%u", s->journal.now.run % DUMPS);
	r = file_replace(SHIM_FD_STATE, name, data, len, 0600);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%s/%s/%s/%s", state_root(), s->settings.realm, s->settings.id,
		name);
	snprintf(text, size, "%u processes in %s", n, name);
	return hook[0] ? start_hook(s, hook, path, rule) : 0;
}
