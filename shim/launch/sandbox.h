/* The sandbox: everything that the privileged half of launch must know of config.json, as one flat
 * memfd of fixed structs and byte ranges. Written by the unprivileged reader (bundle.c), which has
 * seen hostile text and may have been taken over; so whoever reads it goes through the
 * bounds-checked accessors below and sandbox_check(). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ipc/plan.h"

#define SANDBOX_MAGIC	 0x786f62646e7366ULL
#define SANDBOX_SIZE_MAX (8u << 20)
#define SANDBOX_MOUNTS	 512u
#define SANDBOX_DEVICES	 128u
#define SANDBOX_PATHS	 4096u
#define SANDBOX_IDMAPS	 64u
#define SANDBOX_JOINS	 8u
#define WARNINGS_TAIL	 40u /* kept free behind texts that may be cut, for "and N more" */

enum sandbox_flags {
	SANDBOX_READONLY = 1u << 0, /* root.readonly */
	SANDBOX_HOST_DEV = 1u << 1, /* /dev is a bind mount of config.json's: not ours to fill */
	SANDBOX_OOM_ADJ = 1u << 2,  /* oom_score_adj is given */
	SANDBOX_ROOT_NOSUID = 1u << 3,
};

enum mount_kind {
	MOUNT_BIND,
	MOUNT_PROC,
	MOUNT_SYSFS,
	MOUNT_TMPFS,
	MOUNT_DEV, /* the container's own /dev */
	MOUNT_DEVPTS,
	MOUNT_MQUEUE,
	MOUNT_CGROUP,
	MOUNT_KINDS,
};

struct sandbox_mount {
	struct plan_range target;  /* one string, absolute in the container */
	struct plan_range source;  /* one string; binds only */
	struct plan_range options; /* strings KEY or KEY=VALUE of the file system itself */
	uint64_t attr;		   /* MOUNT_ATTR_* to set */
	uint32_t kind;		   /* enum mount_kind */
	uint32_t recursive;	   /* rbind */
	uint32_t optional;	   /* added by default: a host without it is no failure */
	uint32_t pad;
};

struct sandbox_device {
	struct plan_range path; /* one string below /dev/ */
	uint32_t mode;		/* S_IFCHR, S_IFBLK or S_IFIFO and permissions */
	uint32_t major, minor;
	uint32_t uid, gid, pad;
};

struct sandbox_idmap {
	uint32_t inside, outside, count, pad;
};

struct sandbox_join {
	struct plan_range path; /* one string: a namespace file */
	uint32_t type;		/* CLONE_NEW* */
	uint32_t pad;
};

/* A rule of linux.resources.devices, in order; the last that matches decides. -1: any. */
struct sandbox_devrule {
	int64_t major, minor;
	uint32_t type;	 /* 'a', 'b' or 'c' */
	uint32_t access; /* bits of enum dev_access */
	uint32_t allow, pad;
};

enum dev_access { DEV_MKNOD = 1, DEV_READ = 2, DEV_WRITE = 4, DEV_ALL = 7 };

enum limit_id {
	LIMIT_MEM,	   /* bytes */
	LIMIT_MEM_SWAP,	   /* bytes, memory and swap together */
	LIMIT_MEM_RESERVE, /* bytes */
	LIMIT_CPU_QUOTA,   /* usec per period */
	LIMIT_CPU_PERIOD,  /* usec */
	LIMIT_CPU_SHARES,  /* 2..262144 */
	LIMIT_PIDS,
	LIMIT_CPU_WEIGHT,   /* 1..10000, 100 is everybody's; wins over shares */
	LIMIT_IO_WEIGHT,    /* 1..10000, 100 is everybody's; wins over the next */
	LIMIT_BLKIO_WEIGHT, /* 10..1000, config.json's older scale; a host without is no failure */
	LIMIT_CPU_IDLE,	    /* 1: runs when nobody else wants the CPU; then no weight counts */
	LIMITS,
};
#define LIMIT_NONE    UINT64_MAX       /* config.json says -1 */
#define LIMIT_UNGIVEN (UINT64_MAX - 1) /* config.json says nothing */

struct sandbox_limits {
	uint64_t value[LIMITS];
	struct plan_range cpuset_cpus, cpuset_mems; /* one string each or none */
	struct plan_range unified; /* pairs of strings: file, value; v2 hosts only */
};

struct sandbox {
	uint64_t magic;
	uint32_t size;	     /* of the whole blob, bytes */
	uint32_t outcome;    /* LAUNCH_OK or LAUNCH_BAD_CONFIG */
	char error[1024];    /* the sentence when not OK */
	char warnings[768];  /* one per line */
	uint32_t warned;     /* how many */
	uint32_t flags;	     /* enum sandbox_flags */
	uint64_t namespaces; /* CLONE_NEW* to make */
	int32_t oom_score_adj;
	uint32_t rows, cols, pad;
	struct sandbox_limits limits;
	struct plan_range root;	    /* one string; empty with a host root */
	struct plan_range hostname; /* one string or none */
	struct plan_range domainname;
	struct plan_range joins;   /* struct sandbox_join */
	struct plan_range uid_map; /* struct sandbox_idmap */
	struct plan_range gid_map;
	struct plan_range mounts;   /* struct sandbox_mount, in order */
	struct plan_range devices;  /* struct sandbox_device */
	struct plan_range devrules; /* struct sandbox_devrule */
	struct plan_range masked;   /* strings */
	struct plan_range readonly; /* strings */
	struct plan_range sysctls;  /* pairs of strings: key with slashes, value */
};

/* The range's first byte if it lies inside and holds count elements of elem bytes (1: strings). */
const void *sandbox_range(const struct sandbox *sb, struct plan_range r, size_t elem);

/* The only string of r, or "" when r is empty or bad. */
const char *sandbox_string(const struct sandbox *sb, struct plan_range r);

/* Goes through all strings of a list: *at = NULL starts; false at the end. */
struct sandbox_walk {
	const char *at, *end;
};
struct sandbox_walk sandbox_walk(const struct sandbox *sb, struct plan_range r);
const char *sandbox_next(struct sandbox_walk *w); /* NULL at the end */

/* Checks every range, number and path of the mapped blob of size bytes: 0 or a fault. */
int sandbox_check(const struct sandbox *sb, size_t size);
