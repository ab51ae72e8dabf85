/* Restart in place, mode auto: is the sandbox as it was before the first run? Then the next run
 * starts in it; else its leftovers are scrubbed, once; else a fresh sandbox is needed.
 *
 * Looked at: our tmpfs and message queues (as many entries as at boot), System V objects, mounts. A
 * place that can't be looked at counts as not clean. With these empty no shared memory can be left
 * that a limit would count. Child cgroups are looked at by nobody here: PID 1 holds no cgroup
 * directory. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct pid1;

#define CLEAN_UNKNOWN UINT32_MAX /* as a count of entries */

struct clean {
	uint32_t entries, mounts; /* at boot */
	pid_t scrubber;		  /* 0: none runs */
	bool tried;		  /* this run's leftovers were scrubbed once */
};

enum clean_answer { CLEAN_YES, CLEAN_SCRUBBED, CLEAN_SCRUBBING, CLEAN_NO };

/* Remembers how the sandbox looks before the first run. */
void clean_baseline(struct pid1 *p);

/* With no process left but PID 1. CLEAN_SCRUBBING: a helper was forked; ask again when it is gone.
 */
enum clean_answer clean_check(struct pid1 *p);
