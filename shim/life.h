/* The life of a container under its shim: state x event -> next state and actions. Pure. */
#pragma once

#include <stdint.h>

enum life_phase {
	PHASE_NEW,	 /* nothing launched yet */
	PHASE_LAUNCHING, /* a launch is in flight */
	PHASE_ABORTING,	 /* the same, but a stop came: kill what it makes */
	PHASE_STARTING,	 /* the sandbox stands; the service was told to start */
	PHASE_RUNNING,
	PHASE_DELAY,	   /* init waits before the next run in place */
	PHASE_STOPPING,	   /* a stop was asked for */
	PHASE_LEAVE_DOWN,  /* the last exit is recorded; PID 1 is about to end */
	PHASE_LEAVE_FRESH, /* the same, but a fresh start follows */
	PHASE_DECIDE,	   /* PID 1 is gone and nobody decided: the shim applies the policy */
	PHASE_CLEAN_DOWN,  /* taking the sandbox away */
	PHASE_CLEAN_FRESH,
	PHASE_FRESH_DELAY, /* waiting before a fresh start */
	PHASE_DOWN,
	PHASES,
};

enum life_event {
	LIFE_ON_START, /* somebody wants it up */
	LIFE_ON_LAUNCHED,
	LIFE_ON_LAUNCH_FAILED,
	LIFE_ON_STARTED,    /* the service's exec has succeeded */
	LIFE_ON_EXIT_AGAIN, /* a run ended; init starts the next one in place */
	LIFE_ON_EXIT_FRESH, /* a run ended; verdict: fresh start */
	LIFE_ON_EXIT_DOWN,  /* a run ended; verdict: stay down */
	LIFE_ON_INIT_GONE,  /* PID 1 has ended */
	LIFE_ON_CLEAN,	    /* cgroup empty and removed */
	LIFE_ON_TIMER,	    /* the fresh start's delay is over */
	LIFE_ON_STOP,
	LIFE_EVENTS,
};

enum life_action {
	ACT_LAUNCH = 1u << 0,	/* journal the intent, ask the keeper */
	ACT_START = 1u << 1,	/* let PID 1 go */
	ACT_ANNOUNCE = 1u << 2, /* tell clients that it runs */
	ACT_FAILED = 1u << 3,	/* a launch failed: tell clients, or decide as after an exit */
	ACT_STOP = 1u << 4,	/* pass the stop on to PID 1 */
	ACT_KILL = 1u << 5,	/* kill the sandbox: nobody inside can be asked */
	ACT_DECIDE = 1u << 6,	/* infer the exit, apply the policy */
	ACT_CLEAN = 1u << 7,	/* kill and remove the cgroup, forget the sandbox's descriptors */
	ACT_DELAY = 1u << 8,	/* arm the fresh start's timer */
	ACT_ABORT = 1u << 9,	/* kill the launch: it may wait for ever (a dead network mount) */
	ACT_DOWN = 1u << 10,	/* journal it, tell who waits, retire */
};

struct life_step {
	enum life_phase next;
	uint32_t actions; /* enum life_action, carried out in bit order */
};

/* An event that means nothing in this phase leaves it as it is, without actions. */
struct life_step life_step(enum life_phase phase, enum life_event event);

const char *phase_name(enum life_phase phase);
const char *life_event_name(enum life_event event);
