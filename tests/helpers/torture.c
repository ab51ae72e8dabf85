/* The service of the integration tests: one static program with a verb for each thing that a
 * service may do to its supervisor. `stamp` is why it is static: its first instruction comes
 * microseconds after exec, so what it prints is the time of the restart. */
#include "tests/helpers/torture.h"

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

uint64_t torture_usec(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* One write per line: lines of several processes do not mix. */
void torture_say(const char *fmt, ...)
{
	char line[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	line[n++] = '\n';
	for (int done = 0; done < n;) {
		ssize_t w = write(1, line + done, (size_t)(n - done));

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			_exit(99); /* nobody may ever see EPIPE here: tests look for 99 */
		done += (int)w;
	}
}

long torture_number(int argc, char **argv, int at, long otherwise)
{
	return at < argc ? strtol(argv[at], NULL, 0) : otherwise;
}

int torture_sleep_for_ever(void)
{
	for (;;)
		pause();
}

static int stamp(int argc, char **argv)
{
	torture_say("%llu %d", (unsigned long long)torture_usec(), getpid());
	return torture_sleep_for_ever();
}

static int status(int argc, char **argv)
{
	return (int)torture_number(argc, argv, 1, 0);
}

static int die_by(int argc, char **argv)
{
	int signo = (int)torture_number(argc, argv, 1, SIGKILL);

	signal(signo, SIG_DFL);
	raise(signo);
	return torture_sleep_for_ever();
}

static int crash(int argc, char **argv)
{
	volatile int *nowhere = NULL;

	return *nowhere;
}

/* lines COUNT USEC: numbered lines, COUNT 0 for ever, USEC between them. */
static int lines(int argc, char **argv)
{
	long count = torture_number(argc, argv, 1, 0);
	long usec = torture_number(argc, argv, 2, 0);
	struct timespec gap = {usec / 1000000, usec % 1000000 * 1000};

	signal(SIGPIPE, SIG_IGN);
	for (long i = 1; count == 0 || i <= count; i++) {
		torture_say("%08ld", i);
		if (usec)
			nanosleep(&gap, NULL);
	}
	return 0;
}

static int both(int argc, char **argv)
{
	long count = torture_number(argc, argv, 1, 1);

	for (long i = 1; i <= count; i++) {
		torture_say("out %ld", i);
		dprintf(2, "err %ld\n", i);
	}
	return 0;
}

static int ignore(int argc, char **argv)
{
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	torture_say("ready");
	return torture_sleep_for_ever();
}

/* catch: says every signal that comes; SIGTERM ends it with the status given. */
static int catch_all(int argc, char **argv)
{
	sigset_t all;
	int signo;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	torture_say("ready");
	for (;;) {
		if (sigwait(&all, &signo) != 0)
			continue;
		torture_say("got %d", signo);
		if (signo == SIGTERM)
			return (int)torture_number(argc, argv, 1, 0);
	}
}

static int echo(int argc, char **argv)
{
	char buf[4096];
	ssize_t n;

	while ((n = read(0, buf, sizeof(buf))) > 0)
		if (write(1, buf, (size_t)n) != n)
			return 1;
	torture_say("eof");
	return 0;
}

static int http(int argc, char **argv)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)torture_number(argc, argv, 1, 8080)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int s = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(s, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(s, 16) < 0)
		return 1;
	torture_say("listening");
	for (;;) {
		int c = accept(s, NULL, NULL);
		char asked[1024];

		if (c < 0)
			continue;
		if (read(c, asked, sizeof(asked)) > 0)
			dprintf(c, "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello");
		close(c);
	}
}

/* once FILE STATUS: the first run makes FILE and exits with STATUS, later ones stay. */
static int once(int argc, char **argv)
{
	if (argc < 2)
		return 64;
	if (access(argv[1], F_OK) != 0) {
		FILE *f = fopen(argv[1], "w");

		if (!f || fclose(f) != 0)
			return 98;
		return (int)torture_number(argc, argv, 2, 1);
	}
	torture_say("stays");
	return torture_sleep_for_ever();
}

/* for MSEC STATUS: lives that long, then exits. */
static int live(int argc, char **argv)
{
	long ms = torture_number(argc, argv, 1, 0);
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};

	torture_say("run %llu", (unsigned long long)torture_usec());
	nanosleep(&t, NULL);
	return (int)torture_number(argc, argv, 2, 0);
}

static const struct torture verbs[] = {
	{"stamp", stamp, "print CLOCK_MONOTONIC usec and the pid, then stay"},
	{"exit", status, "N: exit with N"},
	{"signal", die_by, "N: die by signal N"},
	{"crash", crash, "die by SIGSEGV"},
	{"lines", lines, "COUNT USEC: numbered lines"},
	{"both", both, "COUNT: lines to stdout and stderr"},
	{"ignore", ignore, "ignore TERM, INT and HUP"},
	{"catch", catch_all, "STATUS: say each signal; TERM ends"},
	{"echo", echo, "stdin to stdout"},
	{"http", http, "PORT: answer hello on 127.0.0.1"},
	{"once", once, "FILE STATUS: exit the first time, stay the second"},
	{"live", live, "MSEC STATUS: live, then exit"},
	{"eat", torture_eat, "MIB: touch that much memory, then stay"},
	{"eat-child", torture_eat_child, "MIB: a child does, its end is told"},
	{"forks", torture_forks,
		"N [KIB]: at most N children, each with so much memory, tell how many"},
	{"storm", torture_storm, "N: that many processes fork and exit without end"},
	{"daemons", torture_daemons, "N STATUS: leave N daemons behind"},
	{"zombies", torture_zombies, "N: leave N zombies and orphans"},
	{"leak", torture_leak, "STATUS: leave SysV and POSIX shm behind"},
	{"grow", torture_grow,
		"KIB USEC MIB: so much more every USEC, up to MIB; TERM: last words"},
	{"bomb", torture_bomb, "every process forks without end"},
	{"spin", torture_spin, "N: that many processes use CPU without end"},
	{"show", torture_show, "what it sees of itself, as JSON"},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(argv[1], verbs[i].name) == 0)
			return verbs[i].run(argc - 1, argv + 1);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		printf("%-10s %s\n", verbs[i].name, verbs[i].help);
	return 64;
}
