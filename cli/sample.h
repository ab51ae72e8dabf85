/* Containers with their figures, straight from state directories, journals and the kernel's cgroup
 * files: it answers whoever is alive, and wakes no supervisor. Kept open from one look to the next,
 * so that what has not changed is not read again and what grows can be told as a rate. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "cli/state.h"
#include "ipc/health.h"
#include "monitor/cgstat.h"

#define SAMPLE_TREND 10 /* looks that a trend remembers */

enum sample_state {
	SAMPLE_CREATED,
	SAMPLE_STARTING,
	SAMPLE_RUNNING,
	SAMPLE_UNREADY, /* runs, and has not said that it is ready (--notify) */
	SAMPLE_PAUSED,
	SAMPLE_RESTARTING,
	SAMPLE_STOPPING,
	SAMPLE_EXITED,
	SAMPLE_ORPHANED, /* runs, and nobody supervises it */
	SAMPLE_LOST,	 /* the host was restarted */
	SAMPLE_DAMAGED,	 /* its journal can't be read */
	SAMPLE_STATES,
};

struct sample {
	struct state dir;
	char cgroup[256];
	bool notify;	   /* the service says when it is ready */
	bool looked_after; /* it has a health */
	bool has_health;   /* and it could be read */
	struct health_state health;
	struct health_conf probes;
	struct stat journal; /* as it was when it was read last */
	struct history h;
	enum sample_state state;
	struct cgstat_dirs group;
	uint64_t group_nonce; /* of the launch that the group is of; 0: it is not open */
	struct cgstat now, before;
	uint64_t at, before_at; /* monotonic usec; 0: there was none */
	/* thousandths of the time in which somebody waited, newest last; by resource */
	uint16_t trend[PRESSURE_RESOURCES][SAMPLE_TREND];
	bool seen;
};

struct samples {
	struct cghier hier;
	struct sample **rows; /* owned, each on its own; sorted by id */
	size_t len;
};

/* 0 or a fault (this host's hierarchies can't be found). */
int samples_open(struct samples *s);
void samples_close(struct samples *s);

/* Looks at the containers of this list (NULL: at all). What is gone is dropped. 0 or a fault. */
int samples_take(struct samples *s, char *const *ids, size_t len);

/* Ids for names and prefixes, for samples_take(): 0, or the first fault. The caller frees. */
int samples_find(char **names, size_t len, char ***ret);
void samples_free_ids(char **ids, size_t len);

const char *sample_word(enum sample_state s);
bool sample_alive(const struct sample *r); /* it has or may soon have figures */
/* Percent of one CPU since the look before; < 0: not known. */
double sample_cpu(const struct sample *r);
