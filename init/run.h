/* One run of the service, and the way from one run to the next. First start and restart are the
 * same path:
 *
 *   STARTING -exec-> UP -death-> CLEANUP -empty, recorded-> DELAY -> STARTING ...   in place
 *                                                        -> DOWN                   stay down, fresh
 *
 * In CLEANUP everything else in the container is killed and reaped, the policy decides, leftovers
 * are looked for and the exit record is written; no new run before the old one is empty. */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

#include "init/oom.h"
#include "init/spawn.h"
#include "ipc/policy.h"
#include "ipc/shared.h"

struct pid1;

struct run {
	struct spawned child; /* pid 0: the main process is dead; result -1: exec has succeeded */
	struct spawn_failure failure;
	struct exit_record record; /* of the run that is ending */
	struct policy_verdict verdict;
	uint64_t mono_start, mono_end;
	struct oom oom;
	bool ready;	   /* it said so */
	bool group_killed; /* by us, for the OOM policy */
	bool again;	   /* the restart verb: a new run whatever the policy says */
	bool failed;	   /* the supervisor ended it for its health */
	bool decided, recorded;
};

void run_init(struct run *r);

/* What the reaper saw, and why a process never became its command, into a record. */
void run_note_status(struct exit_record *rec, const siginfo_t *info, const struct rusage *ru);
void run_note_failure(struct exit_record *rec, const struct spawn_failure *f);

/* The next run begins now. A failure is a run that ended at once. */
void run_start(struct pid1 *p);

/* The exec pipe has something to say. */
void run_result(struct pid1 *p);

/* A while after a restart: what had to wait for it. */
void run_settled(struct pid1 *p);

/* Longer after a start: the next run does not seem to be near. */
void run_calm(struct pid1 *p);

/* The main process was reaped. */
void run_ended(struct pid1 *p, const siginfo_t *info, const struct rusage *ru);

/* Nothing of the run is left. True if there may be children again. */
bool run_emptied(struct pid1 *p);

/* DUE_RECORD and DUE_STUCK: what is left of it does not die. */
void run_overdue(struct pid1 *p);
void run_stuck(struct pid1 *p);

/* Nobody supervises any more. A fresh start that was left to a supervisor which has not heard of it
 * is none then: on in place, as the policy allows. */
void run_orphaned(struct pid1 *p);

/* Stop and restart: signo 0 is the container's stop signal; after the grace everything is killed.
 * Restart: 0, or -ECANCELED while a stop is in force. by_policy: the run counts as failed, and
 * whether another follows is the policy's to say. */
void run_stop(struct pid1 *p, int signo, uint64_t grace_usec);
int run_restart(struct pid1 *p, int signo, uint64_t grace_usec, bool by_policy);

/* A grace that runs ends no earlier than in this time. */
void run_extend(struct pid1 *p, uint64_t grace_usec);

/* Desired = down, without a signal. */
void run_want_down(struct pid1 *p);

/* The hold was changed, or the supervisor says START. */
void run_release(struct pid1 *p);
