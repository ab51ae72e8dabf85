/* The plan: what init must know to spawn the service, as one flat, sealed memfd of fixed structs
 * and byte ranges, so that PID 1 parses nothing. Written by launch, read by init (and by launch
 * itself for containers without init). Layout is append-only: a reader accepts a larger size. */
#pragma once

#include <stdint.h>

#include "ipc/policy.h"

#define PLAN_MAGIC    0x6e616c70666864ULL /* "dhfplan" */
#define PLAN_VERSION  1
#define PLAN_SIZE_MAX (4u << 20)

/* Where init finds its descriptors: fixed numbers, placed by launch just before the exec. A number
 * that a container does not need is closed. */
enum plan_fd {
	PLAN_FD_CHANNEL = 3, /* SEQPACKET to the shim */
	PLAN_FD_PLAN,
	PLAN_FD_SHARED,	  /* ipc/shared.h */
	PLAN_FD_STDIN,	  /* read end of the stdin pipe, or /dev/null */
	PLAN_FD_NULL,	  /* host's /dev/null, opened before pivot_root */
	PLAN_FD_TTY,	  /* terminal master (held for the shim's sake, never read) */
	PLAN_FD_TTY_PEER, /* terminal slave: the service's stdio */
	PLAN_FD_MEM,  /* counter files, read-only: memory.events (v2) or memory.oom_control (v1) */
	PLAN_FD_CPU,  /* cpu.stat */
	PLAN_FD_PIDS, /* pids.events */
	PLAN_FD_PRESSURE,   /* memory.pressure */
	PLAN_FD_OOM_EVENT,  /* v1: eventfd registered on memory.oom_control; v2: absent, poll
			       PLAN_FD_MEM */
	PLAN_FD_PROC,	    /* O_PATH of the container's /proc as launch mounted it (clean check) */
	PLAN_FD_OOM_AROUND, /* v1: eventfd on memory.oom_control of the group above */
	PLAN_FD_DOOR,	    /* `init.sock`, bound and not listening: where who adopts comes in */
	PLAN_FD_LIMIT,	    /* first number that is not ours */
};

#define DOOR_NAME "init.sock" /* in the state directory */

/* From here on what the service itself is given: listeners, then stored descriptors, as many as
 * plan.passed says, in its order. Far up, so that the service's numbers (3, 4, ...) and ours never
 * meet on the way. */
#define PLAN_FD_PASSED	  100
#define PLAN_LISTEN_MAX	  64u
#define PLAN_STORED_MAX	  64u
#define PLAN_PASSED_MAX	  (PLAN_LISTEN_MAX + PLAN_STORED_MAX)
#define PLAN_PASSED_LIMIT (PLAN_FD_PASSED + (int)PLAN_PASSED_MAX)
#define PLAN_NAME_MAX	  255u /* bytes of a descriptor's name in LISTEN_FDNAMES */

enum plan_flags {
	PLAN_TTY = 1u << 0,
	PLAN_NO_NEW_PRIVS = 1u << 1,
	PLAN_STDIN = 1u << 2,  /* PLAN_FD_STDIN is a pipe; else stdin is /dev/null */
	PLAN_MEM_V2 = 1u << 3, /* PLAN_FD_MEM is memory.events and wakes by POLLPRI */
	PLAN_OWN_PIDNS =
		1u << 4, /* the pid namespace was made in this launch: kill(-1) is allowed */
	PLAN_OWN_IPCNS =
		1u << 5, /* SysV and POSIX queue objects are ours to look at and to scrub */
	PLAN_SUBREAPER = 1u << 6, /* reserved */
	PLAN_FILTER_ONCE =
		1u << 7, /* the filter lets through all that PID 1 itself does: loaded once,
			  * inherited by every run (a load costs each restart 0.26 ms) */
	PLAN_FILTER_HELD = 1u << 8, /* with FILTER_ONCE and without NO_NEW_PRIVS: launch has loaded
				     * it before its exec of PID 1, which may not any more */
	PLAN_MERGE = 1u << 20,	    /* stderr is stdout's pipe; stderr's own ends at once */
};

/* off from the plan's start; len in bytes; count of elements. Strings are NUL-terminated, lists of
 * strings are back to back. Always inside the plan: plan_range() checks. */
struct plan_range {
	uint32_t off, len, count, pad;
};

struct plan_rlimit {
	uint32_t resource; /* RLIMIT_* */
	uint32_t pad;
	uint64_t soft, hard;
};

struct plan_caps {
	uint64_t bounding, permitted, effective, inheritable, ambient; /* bit n: capability n */
};

struct plan {
	uint64_t magic;
	uint32_t version;
	uint32_t size;	/* of the whole plan, bytes */
	uint32_t flags; /* enum plan_flags */
	uint32_t umask;
	uint32_t uid, gid;
	uint32_t stop_signal; /* default of the stop verb */
	uint32_t pipe_size;   /* wanted size of each output pipe, bytes */
	uint64_t stop_grace_usec;
	struct plan_caps caps;
	struct policy_conf policy;
	uint64_t mem_limit;	  /* bytes, 0 none: "shmem below 5 % of the limit" */
	struct plan_range argv;	  /* strings; count >= 1 */
	struct plan_range envp;	  /* strings NAME=VALUE */
	struct plan_range cwd;	  /* one string, absolute */
	struct plan_range groups; /* uint32_t */
	struct plan_range
		rlimits; /* struct plan_rlimit: both set per run, PID 1 keeps the host's */
	struct plan_range
		filter; /* struct sock_filter: the service's seccomp program; may be empty */
	struct plan_range
		tmpfs; /* strings: where file systems of ours stand that a run may fill (tmpfs,
			* message queues), as launch found them in the finished sandbox */
	struct plan_range tmpfs_dev;  /* uint64_t: st_dev of each of them, same order */
	struct plan_range passed;     /* strings: names of PLAN_FD_PASSED and what follows */
	struct plan_range passed_key; /* uint64_t: 0 for a listener, else HELD_STORED's key */
};

/* The range's first byte, or NULL when it does not lie between the head and the end of the size
 * bytes at p, or does not hold count elements of elem bytes (elem 1 and strings: len bytes that end
 * in NUL, count of them). */
static inline const void *plan_range_in(
	const void *p, uint32_t head, uint32_t size, struct plan_range r, uint32_t elem)
{
	const char *base = (const char *)p + r.off;
	uint32_t nuls = 0;

	if (r.off < head || r.off > size || r.len > size - r.off)
		return 0;
	if (elem != 1)
		return (uint64_t)r.count * elem == r.len && r.off % 8 == 0 ? base : 0;
	for (uint32_t i = 0; i < r.len; i++)
		nuls += base[i] == '\0';
	return nuls == r.count && (r.len == 0 || base[r.len - 1] == '\0') ? base : 0;
}

static inline const void *plan_range(const struct plan *p, struct plan_range r, uint32_t elem)
{
	return plan_range_in(p, sizeof(*p), p->size, r, elem);
}
