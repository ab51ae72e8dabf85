/* The journal of one container: append-only file `journal` in its state directory. The truth about
 * its life; everything else (state, ps, the shim's own memory) is computed from it.
 *
 * File: struct journal_head, then records of 8-byte aligned size, each written by one pwrite at the
 * known end. Sequences are without holes, but for those that a RECORD_GAP stands for. A record
 * whose length, sum or sequence does not fit ends the journal: a torn tail, which the next writer
 * cuts off. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ipc/base/proc.h"
#include "ipc/verbs.h"

#define JOURNAL_MAGIC	0x6c6e72756f6a6668ULL
#define JOURNAL_VERSION 1
#define RECORD_BODY_MAX 1280u

struct journal_head {
	uint64_t magic;
	uint32_t version;
	uint32_t size; /* of this head */
	char id[80];
	char boot_id[BOOT_ID_LEN + 4];
	uint64_t seq_first; /* sequence of the first record (compaction moves it) */
};

enum record_type {
	RECORD_CREATED = 1,   /* none */
	RECORD_LAUNCH_INTENT, /* struct rec_launch: intent */
	RECORD_LAUNCHED,      /* struct rec_launched: result */
	RECORD_LAUNCH_FAILED, /* struct launch_result */
	RECORD_STARTED,	      /* struct rec_started */
	RECORD_EXITED,	      /* struct exit_info: a run of the service ended */
	RECORD_OOM,	      /* struct exit_info: an OOM kill that did not end the service */
	RECORD_EXIT_GAP,      /* struct exit_info: count exits whose records are lost */
	RECORD_STOP_INTENT,   /* struct rec_stop */
	RECORD_SHIM,	      /* struct rec_shim: a (new) shim supervises */
	RECORD_KEEPER,	      /* struct rec_shim: a new keeper */
	RECORD_OUTPUT_GAP,    /* struct rec_gap: bytes dropped, and why */
	RECORD_WARNING,	      /* text */
	RECORD_DOWN,	      /* struct exit_info: down for good; the last status */
	RECORD_WAITING,	      /* struct init_waiting */
	RECORD_SNAPSHOT,      /* struct history: everything before is forgotten (compaction) */
	RECORD_READY,	      /* none: the run's service has said that it is ready */
	RECORD_OPENED,	      /* none: `start` asks for a life anew, whatever was before */
	RECORD_PAUSED,	      /* none: everything in the container stands still */
	RECORD_GAP = 20,      /* none: those up to its sequence are no longer kept (compaction) */
	RECORD_RESUMED = 21,  /* none: and goes on */
	RECORD_UPDATED,	      /* text: limits or policy that were changed */

	RECORD_EXEC_STARTED = 30, /* struct rec_exec */
	RECORD_EXEC_EXITED,	  /* struct rec_exec_exit */

	RECORD_RULE_FIRED = 40, /* struct rec_rule: its condition has held for long enough */
	RECORD_RULE_ACTION,	/* struct rec_rule: intent */
	RECORD_RULE_DONE,	/* struct rec_rule: result */
	RECORD_RULE_CLEARED,	/* struct rec_rule: it is over, what was for its time is undone */

	RECORD_HEALTH = 50, /* struct rec_health: a probe, or what the service says of itself */
	RECORD_UNHEALTHY,   /* struct rec_health: intent: the run is ended for it */
};

enum record_flags {
	RECORD_OBSERVED = 0,
	RECORD_INFERRED = 1,
};

struct record {
	uint16_t len;  /* of the whole record, a multiple of 8 */
	uint8_t type;  /* enum record_type */
	uint8_t flags; /* enum record_flags */
	uint32_t sum;  /* record_sum() of everything behind it */
	uint64_t seq;
	uint64_t boot_usec, real_usec;
	uint32_t run;
	uint32_t body_len;
	/* body, then zeros up to len */
};

struct rec_launch {
	uint64_t nonce;
	char cgroup[256];
	uint32_t cgroup_kept; /* leading components that were there before: not ours to remove */
	uint32_t pad;
};

struct rec_launched {
	uint64_t nonce;
	int32_t pid; /* of PID 1, host pid */
	uint32_t pad;
	uint64_t starttime; /* its identity together with pid and the boot id */
};

struct rec_started {
	int32_t pid; /* the service's, host pid */
	int32_t init_pid;
	uint64_t boot_usec;
};

struct rec_stop {
	uint32_t what; /* verb id: CLIENT_STOP, CLIENT_RESTART, CLIENT_SIGNAL, CLIENT_REMOVE */
	uint32_t signo;
	uint64_t grace_usec;
};

struct rec_shim {
	int32_t shim_pid, keeper_pid;
	uint32_t revivals;
	uint32_t adopted; /* 1: both of the pair before had died, and the sandbox lives on */
};

struct rec_gap {
	uint32_t stream; /* 1 stdout, 2 stderr */
	int32_t err;	 /* why: errno */
	uint64_t offset, bytes;
};

struct rec_exec {
	uint32_t id;
	int32_t pid;	/* host pid; 0: it had ended by then */
	uint32_t flags; /* enum exec_plan_flags */
	char command[EXEC_COMMAND_MAX];
};

struct rec_exec_exit {
	struct exit_info exit; /* first: its sequence counts like that of any other */
	uint32_t id;
	int32_t pid; /* in the container's pid namespace */
};

enum health_source {
	HEALTH_BY_WATCHDOG = 1, /* WATCHDOG=1 did not come in time, or WATCHDOG=trigger did */
	HEALTH_BY_START,	/* READY=1 did not come in time */
	HEALTH_BY_PROBE,	/* kind: enum probe_kind */
	HEALTH_BY_SERVICE,	/* STATUS=, RELOADING=1, STOPPING=1 */
};

#define HEALTH_TEXT 200u

struct rec_health {
	uint32_t source;   /* enum health_source */
	uint32_t kind;	   /* enum probe_kind */
	uint32_t standing; /* enum probe_standing; of the service: enum service_said */
	uint32_t count;	   /* results in a row that led to it */
	uint32_t signo;	   /* RECORD_UNHEALTHY: what the service gets, and how long it has then */
	uint32_t pad;
	uint64_t grace_usec;
	char text[HEALTH_TEXT]; /* "http://127.0.0.1/x: status 500" */
};

/* A rule of the monitor, at work. */
struct rec_rule {
	uint64_t act;	 /* counts what rules do; intent and result of one action have one */
	char rule[32];	 /* its name */
	char why[96];	 /* "memory.usage 83%, above 80% for 1s" */
	char what[160];	 /* the action; its result, if there is more to say than that it was done */
	uint32_t signal; /* the monitor's number of it */
	uint32_t action; /* the same; 0: none */
	uint64_t value, threshold;
	int32_t err;   /* of the result: 0 or -errno */
	uint32_t ends; /* 1: the action ends the run */
};

/* Encodes into buf (at least sizeof(struct record) + RECORD_BODY_MAX + 8): bytes, or 0 if the body
 * is too large. */
size_t record_encode(void *buf, struct record head, const void *body, size_t body_len);

/* Looks at the n bytes at p: the record's whole length when it is intact and has sequence seq (0:
 * any), 0 when it is not. */
size_t record_check(const void *p, size_t n, uint64_t seq);

static inline const void *record_body(const struct record *r)
{
	return r + 1;
}

const char *record_name(uint8_t type);
