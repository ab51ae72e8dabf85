/* The kernel killed for lack of memory somewhere in the container: whose memory that was, and,
 * while the service lives, what follows from it. The group's kill that the OOM policy may want is
 * ours: memory.oom.group would take PID 1 with it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct pid1;

/* Of one run. */
struct oom {
	uint64_t base;	   /* the counter of kills when it started */
	uint64_t kills;	   /* as it was seen last */
	uint64_t own;	   /* v2: how often the container's own limit had no more */
	uint64_t others;   /* kills that took other processes than the service */
	uint64_t fresh;	   /* kills so new that their victims may look alive, */
	uint64_t judge_at; /* until then */
	uint32_t news;	   /* v1: whose memory ran out, of a kill that is not counted yet */
	uint32_t whose;	   /* EXIT_OOM_WHOSE of the newest kill */
};

/* A run begins: nothing that happened before is its own. */
void oom_begin(struct pid1 *p);

/* The service has ended; text is what the memory group's file said right after. Returns what the
 * record says of it (enum exit_flags). */
uint32_t oom_ended(struct pid1 *p, const char *text, size_t len);

/* The memory group has news. */
void oom_event(struct pid1 *p);

/* DUE_OOM: reads the counter and acts on growth. */
void oom_look(struct pid1 *p);
