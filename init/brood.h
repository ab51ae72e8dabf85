/* The keeper's children: spawned with exactly the descriptors they are to have, reaped at once,
 * their ends kept until the shim has acknowledged them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ipc/verbs.h"

#define KEEPER_CHILDREN_MAX 64

struct brood_child {
	struct reaped end; /* end.pid == 0: free; kind, nonce and pid are set from the spawn on */
	bool done, told;
};

struct brood {
	uint64_t status_seq;
	struct brood_child children[KEEPER_CHILDREN_MAX];
};

enum brood_event { BROOD_NONE, BROOD_SHIM, BROOD_LAUNCH, BROOD_OTHER };

/* Forks and execs `exe` as {name, id}; fds[i] becomes descriptor 3 + i, nothing else is inherited
 * but stdio. 0 or -errno. */
int brood_spawn(struct brood *b, enum child_kind kind, int exe, const char *name, const char *id,
	const int *fds, size_t nfds);

/* From now on the live child of this kind is known by a nonce. */
void brood_name(struct brood *b, enum child_kind kind, uint64_t nonce);

/* A child that a launch made for us (CLONE_PARENT). */
void brood_expect(struct brood *b, pid_t pid, uint64_t nonce);

/* Reaps one child. A child nobody announced belongs to the launch in flight. A shim that was
 * stopped is killed: it supervises nothing, and the next one takes over. */
enum brood_event brood_reap(struct brood *b, uint64_t launch_nonce);

pid_t brood_pid(const struct brood *b, enum child_kind kind); /* of a live child; 0: none */
void brood_kill(struct brood *b, uint64_t nonce);
void brood_forget(struct brood *b, uint64_t nonce);
void brood_untell(struct brood *b);

/* Kills and reaps every child. Waits for them. */
void brood_end(struct brood *b);

void brood_close_from(int fd);
void brood_complain(const char *what, int err);

/* The file `status` for people and tools: two slots, so that one of them is always whole. */
void brood_write_status(struct brood *b, uint32_t revivals);

/* Leaves the supervisors' own cgroup and removes it (HOLDFAST_OWN_CGROUP, absolute path). */
void brood_leave_cgroup(void);
