/* What each run is given besides its stdio: listeners, which launch has placed (ipc/plan.h), and
 * descriptors that a run has stored for those after it, which the supervisor hands in. Passed as
 * sd_listen_fds(3) has it: numbers from 3 on, LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ipc/plan.h"

#define KEPT_FIRST     3 /* SD_LISTEN_FDS_START */
#define KEPT_VARIABLES 3
#define KEPT_TEXT_MAX  (80 + PLAN_STORED_MAX * (PLAN_NAME_MAX + 1)) /* and the listeners' names */

struct kept {
	uint32_t listeners; /* at PLAN_FD_PASSED and on; their names stand in the plan */
	uint32_t stored;
	struct kept_fd {
		uint64_t key;
		int fd; /* above every number that a run gives them */
		char name[PLAN_NAME_MAX + 1];
	} * table; /* of PLAN_STORED_MAX: the first `stored`, in the order in which they came */
};

/* Finds what launch has placed. -EBADF: a descriptor is missing, or their order is wrong. */
int kept_boot(struct kept *k, const struct plan *plan);

/* Takes over fd, to be passed from the next run on; one of this key that is there already stays. 0,
 * -ENOSPC, or -EINVAL for a name that could not stand in a list of names. */
int kept_put(struct kept *k, uint64_t key, int fd, const char *name);
void kept_drop(struct kept *k, uint64_t key);

static inline uint32_t kept_count(const struct kept *k)
{
	return k->listeners + k->stored;
}

/* In a run's child ----------------------------------------------------------------------------- */

/* Puts LISTEN_* behind the variables of envp, in place of others of these names. text has
 * kept_env_size() bytes, envp room for KEPT_VARIABLES more. */
size_t kept_env_size(const struct kept *k, const struct plan *plan);
void kept_env(const struct kept *k, const struct plan *plan, char **envp, char *text);

/* Gives them their numbers. 0 or -errno. */
int kept_place(const struct kept *k);
