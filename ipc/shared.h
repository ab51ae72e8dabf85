/* The shared memory of one container: policy state, the current run, and the exit ring. A memfd
 * made and pre-faulted by the keeper (so that its pages are charged outside the container's memory
 * limit), mapped by init (header only; it writes slots with pwrite) and by the shim (all of it).
 * Survives shim, keeper and init. Whoever reads what init wrote treats it as hostile input.
 *
 * Writers: init alone, while it lives; the shim after init's death and before the next init's
 * start. A slot is valid when its seq is the wanted one and its sum matches. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ipc/policy.h"
#include "ipc/sum.h"

#define SHARED_MAGIC	 0x6572616873666864ULL /* "dhfshare" */
#define SHARED_VERSION	 1
#define EXIT_SLOTS	 64u
#define EXIT_SLOT_SIZE	 1024u
#define SHARED_SLOTS_OFF 4096u
#define SHARED_SIZE	 (SHARED_SLOTS_OFF + EXIT_SLOTS * EXIT_SLOT_SIZE)

enum exit_kind {
	EXIT_SERVICE = 1, /* the service's main process ended */
	EXIT_EXEC,	  /* a process started by the exec verb ended */
	EXIT_OOM, /* an OOM kill in the container that did not end the service (no status) */
	EXIT_GAP, /* exits that found no slot: count of them, statuses not kept */
};

enum exit_flags {
	EXIT_CORE = 1u << 0,	     /* core dumped */
	EXIT_OOM_SEEN = 1u << 1,     /* oom_kill grew during the run */
	EXIT_HEALTHY = 1u << 2,	     /* the run became healthy */
	EXIT_INFERRED = 1u << 3,     /* nobody saw the status: see cause, never invented */
	EXIT_UNKNOWN = 1u << 4,	     /* and it can't be inferred either: status is meaningless */
	EXIT_START_FAILED = 1u << 5, /* the service never ran: errnum and step say why */
	EXIT_STOPPED = 1u << 6,	     /* desired was down: a stop, kill or shutdown was asked for */
	EXIT_GROUP_KILLED = 1u << 7, /* init killed the rest because of the OOM policy */
	EXIT_SCRUBBED = 1u << 8,     /* leftovers of the run were scrubbed before the next */
	EXIT_DIRTY = 1u << 9,	     /* leftovers could not be scrubbed: fresh start */
	/* With EXIT_OOM_SEEN: whose memory had run out at the newest kill. Several: one of them;
	 * none: nobody can tell. */
	EXIT_OOM_OWN = 1u << 10,    /* the container's limit */
	EXIT_OOM_GROUP = 1u << 11,  /* the limit of a group around it */
	EXIT_OOM_HOST = 1u << 12,   /* the host's */
	EXIT_OOM_OTHERS = 1u << 13, /* no kill of the run took the service's main process */
};
#define EXIT_OOM_WHOSE (EXIT_OOM_OWN | EXIT_OOM_GROUP | EXIT_OOM_HOST)

/* Raw bytes of a counter file as they stood right after the service was reaped. */
enum exit_raw { RAW_MEM, RAW_CPU, RAW_PIDS, RAW_PRESSURE, RAW_COUNT };
#define RAW_BYTES 160u

struct exit_record {
	uint64_t seq; /* from 1, one per record */
	uint32_t kind;
	uint32_t run; /* from 1, the container's run number */
	uint32_t flags;
	int32_t pid;   /* in the container's pid namespace */
	uint32_t code; /* exit code, when signal == 0 */
	uint32_t signal;
	int32_t errnum;	  /* EXIT_START_FAILED: errno of the failed step */
	uint32_t step;	  /* EXIT_START_FAILED: enum spawn_step */
	uint32_t count;	  /* exits counted into this record, at least 1 */
	uint32_t exec_id; /* EXIT_EXEC: the id that the exec verb gave */
	uint64_t boot_start,
		boot_end; /* CLOCK_BOOTTIME usec; of the first and last when count > 1 */
	uint64_t utime_usec, stime_usec;
	uint64_t maxrss_kib;
	uint64_t minflt, majflt;
	uint32_t killed;  /* processes reaped after the service in the final kill */
	uint32_t verdict; /* enum policy_action */
	uint32_t reason;  /* enum policy_reason */
	uint32_t pad;
	uint64_t delay_usec; /* until the next run */
	uint64_t oom_kills;  /* counter's value at the end of the run */
	uint16_t raw_len[RAW_COUNT];
	char raw[RAW_COUNT][RAW_BYTES];
	uint32_t pad2;
	uint32_t sum; /* exit_sum() of all before it */
};
_Static_assert(sizeof(struct exit_record) <= EXIT_SLOT_SIZE, "a record fits its slot");

/* The step at which starting the service failed (ipc names; the CLI prints them). */
enum spawn_step {
	SPAWN_FORK = 1,
	SPAWN_PIPES,
	SPAWN_SESSION,
	SPAWN_TTY,
	SPAWN_STDIO,
	SPAWN_RLIMIT,
	SPAWN_CWD,
	SPAWN_GROUPS,
	SPAWN_IDS,
	SPAWN_CAPS,
	SPAWN_NO_NEW_PRIVS,
	SPAWN_SECCOMP,
	SPAWN_EXEC,
	SPAWN_PASS,	 /* listeners and stored descriptors */
	SPAWN_EXEC_PLAN, /* ipc/exec_plan.h is not sound */
};

/* A request whose effect must not come twice (a signal, a restart), by its tag, and what was
 * answered: a supervisor that died before it could pass the answer on has it asked again. */
struct once {
	uint64_t tag; /* 0: none */
	int32_t err;
	uint32_t pad;
};
#define ONCE_SLOTS 16u
#define ONCE_TAG   (1ULL << 63) /* set in the tag of such a request, and of no other */

/* One exec: under way, or ended and not yet forgotten. Its id is its client's connection, which has
 * no other: whoever asks again for an exec that was begun finds it here. */
struct exec_slot {
	uint32_t id; /* 0: never used */
	int32_t pid; /* in the container's pid namespace; 0: it has ended */
	uint8_t code, signal;
	uint8_t step;	/* enum spawn_step, 0: it became the command. Written by the child */
	uint8_t unseen; /* nobody saw how it ended: PID 1 died */
	int32_t errnum; /* of step */
	uint64_t boot_start;
};
#define EXEC_SLOTS 64u
#define EXEC_MAX   48u /* at once; the slots beyond remember those that have just ended */

/* Output of one stream that PID 1 took into a memory file while nobody supervised. PID 1 writes it
 * while that lasts, the supervisor at all other times. */
struct spool_state {
	uint64_t len;	  /* bytes in the file */
	uint64_t dropped; /* those that came after it was full */
	/* Where in the log the supervisor put the first byte of it, plus 1, so that a successor
	 * knows how far it got: 0: not begun; SPOOL_COPIED: all is there. */
	uint64_t base;
};
#define SPOOL_STREAMS 2u
#define SPOOL_MAX     (256u << 10)
#define SPOOL_COPIED  UINT64_MAX

enum run_state { RUN_NONE, RUN_STARTING, RUN_UP, RUN_CLEANUP, RUN_DELAY, RUN_DOWN };

struct shared {
	uint64_t magic;
	uint32_t version;
	uint32_t size;
	uint64_t head;	       /* seq of the newest record, 0: none */
	uint64_t acked;	       /* highest seq that the shim has journalled */
	uint32_t run;	       /* current or newest run, 0: none yet */
	uint32_t state;	       /* enum run_state */
	int32_t pid;	       /* the service's, in the container's pid namespace; 0: none */
	uint32_t hold;	       /* no start after the next exit until released */
	uint64_t boot_started; /* CLOCK_BOOTTIME usec of the current run's exec */
	uint64_t mono_next;    /* RUN_DELAY: monotonic usec of the next start */
	uint64_t oom_kills;    /* newest value of the oom_kill counter that init saw */
	uint64_t reaped;       /* processes reaped since boot, all kinds */
	uint64_t dropped; /* doorbells that the channel did not take (readers must look here) */
	struct policy_state policy;
	struct once once[ONCE_SLOTS];
	uint64_t once_next; /* slot of the next one */
	struct exec_slot execs[EXEC_SLOTS];
	uint64_t exec_next; /* slot where the next one's search begins */
	/* The supervisor's: how often the groups around had run out of memory when it looked last
	 * (UINT64_MAX: not known), after how many kills here, and what it took them for. */
	uint64_t oom_around, oom_told;
	uint32_t oom_whose; /* EXIT_OOM_WHOSE */
	/* init's, before each spawn: the first of the runs whose pipes the current one writes to as
	 * well; 0: it has its own. */
	uint32_t shares_from;
	struct spool_state spool[SPOOL_STREAMS];
};
_Static_assert(sizeof(struct shared) <= SHARED_SLOTS_OFF, "the header fits its page");

static inline uint64_t shared_slot(uint64_t seq)
{
	return SHARED_SLOTS_OFF + (seq - 1) % EXIT_SLOTS * EXIT_SLOT_SIZE;
}

static inline uint32_t exit_sum(const struct exit_record *r)
{
	return sum_bytes(r, offsetof(struct exit_record, sum));
}
