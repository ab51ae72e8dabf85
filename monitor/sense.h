/* What the rules of one container look at, in its group's files, opened once. Samples are read from
 * them; what the kernel can tell by itself makes one epoll descriptor readable: stalls (PSI
 * triggers), changes of memory.events and pids.events, and memory that grows over a mark. The mark
 * is an eventfd on v1; on v2 it is memory.high, which is put back as soon as it was touched, so
 * that nobody is slowed down by it. While asleep nothing is read and nobody wakes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/cghier.h"
#include "monitor/rules.h"

#define SENSE_FILES  16u
#define SENSE_ALARMS (2 * RULES_MAX)

struct sense {
	int fd[SENSE_FILES];	 /* -1: not needed, or this host has none */
	uint32_t ruled;		 /* bit n: a rule needs fd[n]; the others are for people */
	int epoll;		 /* -1: not open */
	int alarm[SENSE_ALARMS]; /* descriptors that are there for epoll alone */
	unsigned alarms;
	uint64_t mark[RULES_MAX]; /* hundredths of a percent of the limit */
	unsigned marks;
	int growth_dir;	   /* v1: of the memory group, should growth stand in for forks; else -1 */
	int growth;	   /* the eventfd of it while asleep, -1: none */
	int high;	   /* v2: memory.high, should it be the mark; else -1 */
	int scan;	   /* v1: the eventfd of the kernel's looking for pages, -1: none */
	uint64_t scans;	   /* times that it was told */
	uint64_t high_was; /* the container's own, UINT64_MAX: none */
	bool high_known;   /* high_was is what a predecessor noted, whatever the file says */
	bool high_moved;
	uint64_t usage, limit; /* bytes, newest sample; limit 0: none */
	uint64_t pids;	       /* newest sample; 0: not known */
	uint64_t pids_limit;   /* v1, where a rule is about it; 0: none */
	bool rounded;	       /* a window was rounded up to what the kernel takes */
	bool blind;	       /* nothing wakes us for something: it has to be looked at */
	bool untold;	       /* v1: refused forks are told by nobody, and a rule is about them */
};

void sense_init(struct sense *s);
/* Opens what the rules need and arms what wakes. What this host lacks is left out. 0 or a fault. */
int sense_open(
	struct sense *s, const struct cghier *h, const char *path, const struct rules *rules);
void sense_close(struct sense *s); /* memory.high is the container's own again */

/* Sets the inputs that it has and leaves the others as they are. drawn: reads what no rule needs,
 * too; else usage, limit and pids may be 0. */
void sense_read(struct sense *s, bool drawn, struct sample *ret);

/* Half of the processes that it may have are there, and nobody would tell of the last: keep
 * looking. */
bool sense_crowded(const struct sense *s);

/* After a sample: nothing more is read until `epoll` is readable. */
void sense_sleep(struct sense *s);
void sense_wake(struct sense *s);

/* monitor/alarm.c: descriptors that tell by themselves. A fault is no more than a reason to look.
 */
int alarm_pressure(
	struct sense *s, int dir, const char *file, bool full, uint64_t stall, uint64_t window);
int alarm_changes(struct sense *s, int fd); /* of a file of the group */
/* cgroup.event_control; once: an eventfd of the caller's, for as long as it is open. */
int alarm_v1(struct sense *s, int dir, int fd, const char *argument);
int alarm_v1_once(struct sense *s, int dir, int fd, const char *argument, int *ret);
void alarm_drain(struct sense *s);

/* The shortest window that the kernel takes of us is a multiple of it: 0: any. */
uint64_t alarm_window_step(void);
