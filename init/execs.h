/* Commands beside the service: forked from PID 1 with the steps of a run (init/spawn.h), and reaped
 * by it. They end with the run, each with a record of its own before the service's. What is known
 * of each stands in the shared memory: a supervisor that died meanwhile has its successor ask
 * again, and nothing is begun twice. */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

struct packet;
struct pid1;

/* INIT_EXEC. 0: begun, now or before, and told; else -errno. */
int execs_start(struct pid1 *p, struct packet *q);

/* A child was reaped. False: it is no exec. */
bool execs_ended(struct pid1 *p, const siginfo_t *info, const struct rusage *ru);
