/* One run of the service from clone to exec, and helpers forked from PID 1. Between clone and exec
 * nothing is allocated, logged or returned: a step's number and errno go over a close-on-exec pipe
 * that reads end of file when exec has succeeded.
 *
 * A run's child is no copy of PID 1: it shares its memory until exec (to copy and to give back page
 * tables was the largest part of a restart), on a stack of its own, beside which lies all that it
 * reads or writes. PID 1 goes on meanwhile: an exec that hangs keeps nobody waiting. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ipc/plan.h"

struct exec_slot;
struct kept;

struct spawn_failure {
	uint32_t step; /* enum spawn_step; 0: none */
	int32_t errnum;
};

struct spawned {
	pid_t pid;
	int pidfd;
	int result; /* reads struct spawn_failure, or end of file once exec has succeeded */
};

/* What runs' children live in, one after the other. Without one it has no pages. */
struct nest {
	char *at;
	size_t size;
	bool used;
	uint32_t *go; /* of the child that is in it */
};

/* The nest's addresses, for ever: 0 or -errno. */
int spawn_boot(struct nest *nest, const struct plan *plan);

/* stdio: the child's 0, 1, 2, kept: its 3 and on; all stay the caller's. 0, or -errno with nothing
 * left behind. The child gets ready, and becomes its command after spawn_go(). */
int spawn_service(struct nest *nest, const struct plan *plan, const struct kept *kept,
	const int stdio[3], struct spawned *ret);

void spawn_go(struct nest *nest);

/* Gives its pages back, once the child has become the command or was reaped. Who starts the next
 * one soon need not. */
void spawn_left(struct nest *nest);

/* A command beside the service, with descriptors as enum exec_fd of ipc/exec_plan.h has them, and
 * within what the plan allows. Why it never became the command the child itself writes into slot,
 * which is in shared memory. Its pid, or -errno. */
pid_t spawn_exec(const struct plan *plan, const int *fds, struct exec_slot *slot, int *pidfd);

/* Runs f in a forked child whose exit status is f's result. Its pid or -errno. */
pid_t spawn_helper(int (*f)(const struct plan *plan), const struct plan *plan);

/* Loads the plan's filter (which must not be empty) into this process: 0 or -errno. */
int spawn_filter(const struct plan *plan);
