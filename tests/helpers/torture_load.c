/* Services that use more and more. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/helpers/torture.h"

static volatile sig_atomic_t warned, ended;

static void on_signal(int signo)
{
	if (signo == SIGTERM)
		ended = 1;
	else
		warned++;
}

static void pause_usec(long usec)
{
	struct timespec gap = {usec / 1000000, usec % 1000000 * 1000};

	while (!ended && nanosleep(&gap, &gap) < 0 && errno == EINTR)
		;
}

static long kib;

static void look(void)
{
	static int told;

	while (told < warned)
		torture_say("warned %d at %ld KiB", ++told, kib);
}

int torture_grow(int argc, char **argv)
{
	long step = torture_number(argc, argv, 1, 1024),
	     usec = torture_number(argc, argv, 2, 10000);
	long most = torture_number(argc, argv, 3, 0) * 1024;

	signal(SIGTERM, on_signal);
	signal(SIGUSR1, on_signal);
	torture_say("growing");
	while (!ended) {
		if (!most || kib + step <= most) {
			char *p = malloc((size_t)step << 10);

			if (!p)
				return 3;
			memset(p, 1, (size_t)step << 10);
			__asm__ volatile(""
					 :
					 : "r"(p)
					 : "memory"); /* a compiler may see no use of it */
			kib += step;
		}
		look();
		pause_usec(usec);
	}
	look();
	torture_say("last words: %ld KiB", kib);
	return 0;
}

int torture_bomb(int argc, char **argv)
{
	torture_say("bomb");
	for (;;)
		fork();
}

int torture_spin(int argc, char **argv)
{
	long n = torture_number(argc, argv, 1, 1);

	torture_say("spinning");
	for (long i = 1; i < n; i++)
		if (fork() == 0)
			break;
	for (;;)
		;
}
