/* What a container's group uses, has used and may use, from the kernel's cgroup files: the v2 tree
 * and v1 hierarchies behind one interface, chosen controller by controller. The group's directories
 * are opened once, so a group of the same name that comes later is never mistaken for this one. A
 * file that is not there is a field that is not there; so is a limit that is "max". */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/cghier.h"

enum cgstat_field {
	CGSTAT_CPU_USAGE, /* usec */
	CGSTAT_CPU_USER,
	CGSTAT_CPU_SYSTEM,
	CGSTAT_CPU_PERIODS, /* of the quota */
	CGSTAT_CPU_THROTTLED_PERIODS,
	CGSTAT_CPU_THROTTLED, /* usec */
	CGSTAT_CPU_LIMIT,     /* thousandths of a CPU */
	CGSTAT_MEM_CURRENT,   /* bytes */
	CGSTAT_MEM_PEAK,
	CGSTAT_MEM_LIMIT,
	CGSTAT_MEM_HIGH,
	CGSTAT_MEM_SWAP,
	CGSTAT_MEM_ANON,
	CGSTAT_MEM_FILE,
	CGSTAT_MEM_KERNEL,
	CGSTAT_MEM_EVENTS_HIGH, /* times */
	CGSTAT_MEM_EVENTS_MAX,
	CGSTAT_MEM_EVENTS_OOM,
	CGSTAT_MEM_EVENTS_OOM_KILL,
	CGSTAT_PIDS_CURRENT,
	CGSTAT_PIDS_LIMIT,
	CGSTAT_PIDS_EVENTS_MAX,
	CGSTAT_IO_READ, /* bytes */
	CGSTAT_IO_WRITE,
	CGSTAT_PRESSURE, /* from here on: cgstat_pressure() */
	CGSTAT_FIELDS = CGSTAT_PRESSURE + 3 * 2 * 3,
};

enum cgstat_resource { PRESSURE_CPU, PRESSURE_MEMORY, PRESSURE_IO, PRESSURE_RESOURCES };
enum cgstat_kind { PRESSURE_SOME, PRESSURE_FULL, PRESSURE_KINDS };
/* Averages in hundredths of a percent, the total in usec. */
enum cgstat_figure { PRESSURE_AVG10, PRESSURE_AVG60, PRESSURE_TOTAL, PRESSURE_FIGURES };

_Static_assert(CGSTAT_FIELDS <= 64, "a bit for each");

static inline enum cgstat_field cgstat_pressure(
	enum cgstat_resource r, enum cgstat_kind k, enum cgstat_figure f)
{
	return (enum cgstat_field)(CGSTAT_PRESSURE +
				   ((unsigned)r * PRESSURE_KINDS + (unsigned)k) * PRESSURE_FIGURES +
				   (unsigned)f);
}

struct cgstat {
	uint64_t has; /* bit n: value[n] is there */
	uint64_t value[CGSTAT_FIELDS];
};

static inline bool cgstat_has(const struct cgstat *s, enum cgstat_field f)
{
	return s->has >> f & 1;
}

enum cgstat_dir {
	CGDIR_UNIFIED,
	CGDIR_MEMORY,
	CGDIR_CPU,
	CGDIR_CPUACCT,
	CGDIR_PIDS,
	CGDIR_IO,
	CGDIRS
};

struct cgstat_dirs {
	int fd[CGDIRS]; /* -1: the group is not in this hierarchy */
	bool v2[CGDIRS];
};

void cgstat_init(struct cgstat_dirs *d); /* nothing is open */
/* Opens what there is of the group: how many directories, 0: none. */
int cgstat_open(struct cgstat_dirs *d, const struct cghier *h, const char *path);
void cgstat_close(struct cgstat_dirs *d);

/* The figures now. A group that was removed meanwhile has none. */
void cgstat_read(const struct cgstat_dirs *d, struct cgstat *ret);

/* The parsers: text of one file into fields. Whatever does not look as it should is left out. */
void cgstat_take_number(struct cgstat *s, enum cgstat_field f, const char *text);
/* "key N" lines; with sep '=' "key=N" words. Several with one key are added up. */
bool cgstat_find(const char *text, const char *key, char sep, uint64_t *ret);
void cgstat_take_cpu_max(struct cgstat *s, const char *text); /* "QUOTA|max PERIOD" */
void cgstat_take_blkio(struct cgstat *s, const char *text);   /* "MAJ:MIN Read N" */
void cgstat_take_pressure(struct cgstat *s, enum cgstat_resource r, const char *text);
