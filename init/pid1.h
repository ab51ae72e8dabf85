/* All that PID 1 knows, in one struct of static size: nothing is allocated after boot. The loop
 * owns it; every other file of the role is handed the pointer.
 *
 * What must survive PID 1 (policy state, exit ring, desired state) lives in `shared`; the rest may
 * be lost with it, since the kernel then kills everything here anyway. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "init/clean.h"
#include "init/door.h"
#include "init/kept.h"
#include "init/output.h"
#include "init/run.h"
#include "init/spool.h"
#include "ipc/plan.h"
#include "ipc/shared.h"

/* What can be due; each at most once, at a monotonic time in `due` (0: not at all). */
enum pid1_due {
	DUE_START,  /* the delay before the next run is over */
	DUE_KILL,   /* the grace of a stop or restart is over */
	DUE_RECORD, /* a second after its death a run gets its record in any case */
	DUE_STUCK,  /* what is left of the run has not died for long */
	DUE_REAP,   /* a run that never had a process has ended, or more wait than a turn reaps */
	DUE_OOM,    /* look at the OOM counter again */
	DUE_TELL,   /* ring the doorbell for a record in the ring */
	DUE_RESULT, /* see whether a run that was started again has become its command */
	DUE_NEST,   /* give back what the run's child lived in */
	DUES,
};

struct pid1 {
	struct plan plan; /* its head; a child reads the ranges from a mapping of its own */
	struct shared *shared;
	uint32_t have;	/* bit n: descriptor n of enum plan_fd was there at boot */
	int signals;	/* signalfd */
	int bell[2];	/* the supervisor's end, and ours */
	bool connected; /* a supervisor's end of the channel exists */
	bool begun;	/* START was seen */
	bool ran;	/* a run was started by us before */
	bool quit;	/* nothing was begun and nobody will */
	enum run_state state;
	uint64_t due[DUES];
	struct run run;
	int old_pidfd; /* of the run before, or -1 */
	struct output output;
	struct clean clean;
	uint32_t oom_looks;
	struct kept kept;
	struct nest nest;
	struct spool spool;
	struct door door;
};

static inline bool pid1_has(const struct pid1 *p, enum plan_fd fd)
{
	return p->have >> fd & 1;
}

/* The state, where the supervisor sees it as well. */
void pid1_set_state(struct pid1 *p, enum run_state state);

/* Supervises until the container is down for good and its last record is acknowledged. */
int pid1_main(void);
