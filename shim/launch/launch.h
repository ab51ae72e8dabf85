/* One launch in flight: everything that the steps of the recipe (recipe.c) hand to each other. The
 * parent's fields are set before the clone, so the child finds them in its copy. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ipc/cghier.h"
#include "ipc/health.h"
#include "ipc/settings.h"
#include "ipc/verbs.h"
#include "shim/launch/reader.h"
#include "shim/launch/recipe.h"

enum cg_kind {
	GROUP_V2,
	GROUP_MEMORY,
	GROUP_CPU,
	GROUP_PIDS,
	GROUP_CPUSET,
	GROUP_BLKIO,
	GROUP_DEVICES,
	GROUPS
};

struct cg_group {
	char root[128]; /* hierarchy's mount point; "": the container has no group there */
	int dir;	/* its directory, O_PATH; -1: not made */
	int view;	/* detached mount of it for the container; -1: none */
	bool entered;
};

struct launch {
	uint64_t nonce;
	pid_t keeper;
	struct settings set;
	struct reading in;
	const struct sandbox *sb;
	struct cghier hier;
	enum step_when groups; /* when those of v1 are made */

	/* descriptors that came at exec (contract of ipc/verbs.h) */
	int channel, state, init_channel, shared, init_exe;

	/* made by the parent for the child; -1: not needed */
	int exe;	/* detached read-only mount of init */
	int root;	/* detached mount of the rootfs */
	int dev;	/* detached tmpfs with the device nodes */
	int null_mount; /* detached mount of the host's null device, for masking files */
	int null;	/* the host's null device, open for reading and writing */
	int copies;	/* tmpfs with the container's own files (copies.c) */
	int *mounts;	/* per sandbox mount: detached mount of a bind's source */
	uint64_t *made; /* per sandbox mount: st_dev of what we made there and a run may fill */
	struct {
		int fd;
		char target[256];
	} host_mounts[16]; /* separate mounts of the host's root that are shown read-only */
	uint32_t host_mount_count;
	int counters[PLAN_FD_LIMIT]; /* indexed by enum plan_fd */
	int stdio[3];		     /* the service's ends; without init only, but for stdin */
	struct launch_passed {
		int fd;
		uint64_t key; /* 0: a listener, else HELD_STORED's */
		char name[PLAN_NAME_MAX + 1];
	} passed[PLAN_PASSED_MAX]; /* what the service is given, in its order */
	uint32_t passed_count, listeners;
	int notify; /* detached tmpfs with the sockets for notifications and pressure */
	struct health_conf *health; /* NULL: no probes */
	int sync; /* to the other half: parent in the parent, child in the child */
	struct cg_group group[GROUPS];

	pid_t pid;
	int pidfd;

	/* of the child */
	int here; /* the state directory, as a place in its mount namespace */
	int proc; /* its procfs, O_PATH */
	int devpts;
	int tty_peer, tty;

	unsigned warned;
	char warnings[1024]; /* the last WARNINGS_TAIL bytes are for "and N more" */
};

/* Told to the user when the container runs. */
void launch_warn(struct launch *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static inline bool launch_flag(const struct launch *l, uint32_t flag)
{
	return (l->set.flags & flag) != 0;
}

static inline bool launch_new_ns(const struct launch *l, uint64_t type)
{
	return (l->sb->namespaces & type) != 0;
}

/* Notes a file system just made for mount i, if it is one that init has to look after. */
int place_made(struct launch *l, uint32_t i, const struct sandbox_mount *m, int mount);

/* 1 with *ret: source is one of the container's own files, and this a detached mount of a private
 * copy. 0: it is not; or a fault. */
int copies_mount(struct launch *l, const char *source, int *ret);

/* Deposits fd with the keeper under (kind, key): 0 or a fault. */
int launch_hold(const struct launch *l, uint32_t kind, uint64_t key, int fd);

/* Host id of the container's root (0 without a user namespace). */
uint32_t launch_root_id(const struct launch *l, struct plan_range map);
