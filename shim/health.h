/* The health of a run: what it says of itself (notifications), its watchdog, the time it may take
 * to be ready, and what its probes find. All that a successor must know stands in memory that it
 * shares (ipc/health.h); the one thing that is done about it, ending a run, is journalled first. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/base/loop.h"
#include "ipc/health.h"
#include "ipc/record.h"

struct shim;

struct probe_run;

struct health {
	struct health_state *state; /* NULL: nothing was asked for */
	struct health_conf *conf;   /* NULL: no file says anything */
	struct loop_timer watchdog, start, answer;
	uint64_t tag;		  /* of an INIT_RESTART that init has not answered, 0: none */
	struct probe_run *probes; /* conf->count of them, or NULL */
	int root;		  /* the container's, O_PATH; -1: not held */
};

void health_setup(struct shim *s);

/* A run is up (again: for a new shim), has ended, is asked to end. */
void health_began(struct shim *s);
void health_ended(struct shim *s);
void health_stopping(struct shim *s);
void health_paused(struct shim *s);
void health_resumed(struct shim *s); /* after a pause: nothing could be said or answered in it */

/* shim/said.c: a notification of the present run; sent: wall clock, usec. */
void health_heard(struct shim *s, const struct notify_msg *m, uint64_t sent);

void health_answered(struct shim *s, uint64_t tag);

/* shim/unhealthy.c: the run shall end for its health; what follows is the policy's. Once a run. */
void health_end_run(struct shim *s, struct rec_health rec, const char *why);

/* Something has changed: verdict and readiness are computed anew. */
void health_review(struct shim *s);
/* An event; what a service says itself only if there were not too many. */
void health_note(struct shim *s, struct rec_health rec, const char *text);
/* This run is to be looked after, and not at its end. */
bool health_awake(const struct shim *s);

/* Text in the shared memory: readers see all of the old or all of the new. */
void health_text(struct health_state *st, char *to, size_t size, const char *text);

/* Between the files of it. */
void health_halt(struct shim *s);  /* nothing of it is timed or under way any more */
void health_watch(struct shim *s); /* the watchdog's timer by what is in force */
void health_reset(struct shim *s); /* a run that nothing is known of yet */
void health_missed(struct shim *s, const char *why);
void health_pass_on(struct shim *s); /* the journalled end of this run, to init */
void unhealthy_setup(struct shim *s);

/* shim/probes.c */
void probes_setup(struct shim *s);
void probes_go(struct shim *s);	  /* from where they are */
void probes_halt(struct shim *s); /* what is under way is given up */
void probes_drop(struct shim *s); /* and begins anew when it is time */
bool probes_exec_is(uint32_t id); /* an exec's id: is it a probe's? */
void probes_exec_begun(struct shim *s, uint32_t id, int pidfd); /* takes over pidfd */
void probes_exec_ended(struct shim *s, const struct exit_record *r);
void probes_exec_answered(struct shim *s, uint64_t tag, int err);
void probes_held(struct shim *s, uint64_t key, int fd); /* the keeper's; takes over fd */
void probes_root_held(struct shim *s, uint64_t key, int fd);
void probes_forget(struct shim *s);		     /* the sandbox is about to go */
int probes_socket(const struct shim *s, unsigned i); /* for the next keeper; -1: none */
