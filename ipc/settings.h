/* What the user asked of Holdfast, beside what config.json says of the sandbox: one fixed struct in
 * the file `settings` of the state directory. Written once by the client that creates the
 * container; read by shim and launch. Append-only: a reader accepts a shorter (older) file,
 * zero-filled. */
#pragma once

#include <stdint.h>

#include "ipc/policy.h"

#define SETTINGS_MAGIC	 0x73746573666864ULL /* "dhfsets" */
#define SETTINGS_VERSION 1

/* In the container, with SETTINGS_NOTIFY. */
#define NOTIFY_PLACE  "/run/holdfast"
#define NOTIFY_SOCKET NOTIFY_PLACE "/notify"

/* The same, with SETTINGS_PRESSURE: kind is "memory", "cpu" or "io". */
#define PRESSURE_SOCKET(kind) NOTIFY_PLACE "/" kind "-pressure"

#define ID_MAX	  76 /* bytes; containerd's grammar */
#define REALM_MAX 48

enum settings_flags {
	SETTINGS_TTY = 1u << 0,
	SETTINGS_STDIN = 1u << 1,	/* keep stdin open (-i) */
	SETTINGS_AUTO_REMOVE = 1u << 2, /* --rm */
	SETTINGS_NO_INIT = 1u << 3,	/* --init none: the service is PID 1 */
	SETTINGS_HOST_ROOT = 1u << 4,	/* rootfs is the host's root under an ephemeral overlay */
	SETTINGS_DEFAULT_SECCOMP = 1u << 5, /* the built-in filter, unless config.json brings one */
	SETTINGS_ROOTFS_IDMAP = 1u << 6,    /* with a user namespace: show the rootfs id-mapped */
	SETTINGS_MERGE_OUTPUT = 1u << 20,   /* stdout and stderr are one pipe */
	SETTINGS_HOST_FILES = 1u << 7, /* --host-files all: nothing of the host root is masked */
	SETTINGS_NOTIFY = 1u << 16,    /* --notify: the service says when it is ready */
	SETTINGS_LISTEN = 1u << 17,    /* the state directory has a list of listeners */
	SETTINGS_NOTIFY_SOCKET = 1u << 24, /* the service may talk, and need not say READY=1 */
	SETTINGS_HEALTH = 1u << 25,	   /* the state directory says how to look after it */
	SETTINGS_PRESSURE = 1u << 26,	   /* the service can ask to be warned of pressure */
};

enum log_full { LOG_FULL_DROP, LOG_FULL_BLOCK };

/* Limits that were changed since (`update`): they win over config.json's at every start. */
enum changed_limit {
	CHANGED_MEMORY,	     /* bytes */
	CHANGED_MEMORY_HIGH, /* bytes */
	CHANGED_MEMORY_SWAP, /* bytes, memory and swap together */
	CHANGED_CPUS,	     /* thousandths */
	CHANGED_CPU_WEIGHT,  /* 1..10000 */
	CHANGED_PIDS,
	CHANGED_LIMITS,
};

struct changed_limits {
	uint32_t given; /* bit n: limit n was changed */
	uint32_t none;	/* bit n: to none */
	uint64_t value[8];
	char cpuset_cpus[256]; /* empty: not changed */
};

struct settings {
	uint64_t magic;
	uint32_t version;
	uint32_t size; /* of this struct as written */
	char id[ID_MAX + 4];
	char realm[REALM_MAX];
	uint32_t flags; /* enum settings_flags */
	uint32_t stop_signal;
	uint64_t stop_grace_usec;
	struct policy_conf policy;
	uint32_t log_full;	/* enum log_full */
	uint32_t log_max_files; /* segments per stream, at least 1 */
	uint64_t log_max_bytes; /* per segment */
	char cgroup[256];	/* "/holdfast/local/ID": below every hierarchy's root */
	char log_dir[512];	/* absolute */
	char bundle[512];	/* absolute; config.json's relative root.path starts here */
	uint64_t real_created;
	char pidfile[256]; /* absolute; empty: none */
	struct changed_limits changed;
};

/* Reads and checks `settings` in the state directory: 0 or a fault. */
int settings_read(int state_dirfd, struct settings *ret);

/* Writes it (atomically): 0 or a fault. Fills in magic, version and size. */
int settings_write(int state_dirfd, struct settings *s);

/* 1..ID_MAX of [A-Za-z0-9] groups joined by single [._-]; 0, or -EINVAL with the fault text. */
int id_check(const char *id);

/* Where things are. HOLDFAST_STATE_DIR and HOLDFAST_LOG_DIR replace the roots (tests, side by side
 * installations). Never NULL. */
const char *state_root(void); /* /run/holdfast */
const char *log_root(void);   /* /var/log/holdfast */
