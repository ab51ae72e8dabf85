/* The verbs of the test service. Each gets its own arguments (argv[0] is the verb) and returns the
 * exit status; main is a table of them. */
#pragma once

#include <stdint.h>

struct torture {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
};

/* torture.c */
uint64_t torture_usec(void);
long torture_number(int argc, char **argv, int at, long otherwise);
int torture_sleep_for_ever(void);
void torture_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* torture_leaks.c: memory, processes and what else a bad service leaves behind */
int torture_eat(int argc, char **argv);
int torture_eat_child(int argc, char **argv);
int torture_storm(int argc, char **argv);
int torture_forks(int argc, char **argv);
int torture_daemons(int argc, char **argv);
int torture_leak(int argc, char **argv);
int torture_zombies(int argc, char **argv);

/* torture_load.c: services that use more and more */
int torture_grow(int argc, char **argv);
int torture_bomb(int argc, char **argv);
int torture_spin(int argc, char **argv);

/* torture_show.c: what the service sees of itself */
int torture_show(int argc, char **argv);
