/* One probe under way: how it is asked (shim/probe_exec.c, shim/probe_net.c) and what is made of
 * the answer (shim/probes.c). */
#pragma once

#include "shim/health.h"

#define PROBE_SAID 120u /* bytes of a command's output that are kept for the reason */

struct probe_run {
	struct shim *shim;
	unsigned index;
	const struct probe_conf *conf;
	struct probe_state *state;
	struct loop_timer timer; /* the next one begins, or the time of this one is over */
	struct loop_io io;	 /* the connection, or the command's output */
	bool held;		 /* io is the keeper's socket, and stays */
	bool sent;		 /* the request is out */
	bool mine;		 /* what is under way was begun, or asked for again, by this shim */
	int pidfd;		 /* the command; -1: not known to have begun */
	int plan;		 /* the command's, made once; -1 */
	uint32_t got;		 /* bytes of answer or output */
	char said[PROBE_SAID];
};

/* The verdict on what is under way. why: of a failure, one phrase. */
void probe_finish(struct probe_run *p, bool good, const char *why, ...)
	__attribute__((format(printf, 3, 4)));

/* How each is asked and given up. begin: 0, or a failure that is certain already, as -errno;
 * -EAGAIN is none: it is tried again the next time. */
int probe_net_begin(struct probe_run *p);
void probe_net_end(struct probe_run *p);
int probe_exec_begin(struct probe_run *p);
void probe_exec_end(struct probe_run *p);
/* Without a verdict: the next one comes in its time. */
void probe_drop(struct probe_run *p);
