/* What the service sees of itself, as one line of JSON: the tests' witness from inside. */
#include "tests/helpers/torture.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <termios.h>
#include <unistd.h>

extern char **environ;

static void string(const char *s)
{
	putchar('"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			printf("\\%c", *s);
		else if ((unsigned char)*s < 0x20)
			printf("\\u%04x", *s);
		else
			putchar(*s);
	}
	putchar('"');
}

static void field(const char *name)
{
	printf(", ");
	string(name);
	printf(": ");
}

static void list(const char *name, char *const *strings)
{
	field(name);
	putchar('[');
	for (int i = 0; strings[i]; i++) {
		if (i)
			printf(", ");
		string(strings[i]);
	}
	putchar(']');
}

static void ids(void)
{
	uid_t r, e, s;
	gid_t groups[256];
	int n = getgroups(256, groups);

	getresuid(&r, &e, &s);
	field("uids");
	printf("[%u, %u, %u]", r, e, s);
	getresgid(&r, &e, &s);
	field("gids");
	printf("[%u, %u, %u]", r, e, s);
	field("groups");
	putchar('[');
	for (int i = 0; i < n; i++)
		printf("%s%u", i ? ", " : "", groups[i]);
	putchar(']');
}

/* Every line "Name:\tvalue" of /proc/self/status. */
static void status(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[512];
	int first = 1;

	field("status");
	putchar('{');
	while (f && fgets(line, sizeof(line), f)) {
		char *colon = strchr(line, ':');

		if (!colon)
			continue;
		*colon = '\0';
		line[strcspn(line, "\n")] = '\0';
		colon[1 + strcspn(colon + 1, "\n")] = '\0';
		if (!first)
			printf(", ");
		first = 0;
		string(line);
		printf(": ");
		string(colon + 1 + strspn(colon + 1, "\t "));
	}
	putchar('}');
	if (f)
		fclose(f);
}

static void rlimits(void)
{
	field("rlimits");
	putchar('[');
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		struct rlimit r = {0, 0};

		getrlimit((__rlimit_resource_t)i, &r);
		printf("%s[%lld, %lld]", i ? ", " : "", (long long)r.rlim_cur,
			(long long)r.rlim_max);
	}
	putchar(']');
}

static void fds(void)
{
	int first = 1;

	field("fds");
	putchar('[');
	for (int fd = 0; fd < 1024; fd++) {
		if (fcntl(fd, F_GETFD) < 0)
			continue;
		printf("%s%d", first ? "" : ", ", fd);
		first = 0;
	}
	putchar(']');
}

static void terminal(void)
{
	struct winsize w = {0};
	int fd = open("/dev/tty", O_RDWR | O_CLOEXEC);

	field("tty");
	printf("[%s, %s, %s]", isatty(0) ? "true" : "false", isatty(1) ? "true" : "false",
		isatty(2) ? "true" : "false");
	field("controlling");
	printf("%s", fd >= 0 ? "true" : "false");
	field("foreground");
	printf("%d", (int)tcgetpgrp(0));
	field("winsize");
	if (isatty(0))
		ioctl(0, TIOCGWINSZ, &w);
	printf("[%u, %u]", w.ws_row, w.ws_col);
	if (fd >= 0)
		close(fd);
}

static void signals(void)
{
	sigset_t blocked;
	int first = 1;

	sigprocmask(SIG_BLOCK, NULL, &blocked);
	field("blocked");
	putchar('[');
	for (int i = 1; i <= 64; i++) {
		if (sigismember(&blocked, i) != 1)
			continue;
		printf("%s%d", first ? "" : ", ", i);
		first = 0;
	}
	putchar(']');
}

int torture_show(int argc, char **argv)
{
	char cwd[4096] = "";
	struct utsname u;
	mode_t mask = umask(0);

	umask(mask);
	uname(&u);
	if (!getcwd(cwd, sizeof(cwd)))
		snprintf(cwd, sizeof(cwd), "errno %d", errno);
	printf("{\"pid\": %d, \"ppid\": %d, \"sid\": %d, \"pgid\": %d", getpid(), getppid(),
		getsid(0), getpgid(0));
	field("cwd");
	string(cwd);
	field("hostname");
	string(u.nodename);
	field("umask");
	printf("%u", mask);
	ids();
	status();
	rlimits();
	fds();
	terminal();
	signals();
	list("env", environ);
	list("args", argv);
	printf("}\n");
	fflush(stdout);
	return ferror(stdout) ? 1 : 0;
}
