/* What the commands on existing containers share: their options, the loop over names, and what more
 * than one of them does to a container. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/client.h"
#include "cli/options.h"
#include "cli/state.h"

struct control {
	const char *time; /* as the user wrote it */
	uint64_t grace_usec;
	uint32_t signal;
	bool force, all;
	bool attach, interactive;
	const char *detach_keys;
	int status; /* of a service that was attached to; -1: of none */
};

#define CONTROL_TIME_ROW                                                                   \
	{                                                                                  \
		"time", 't', "TIME", "wait this long, then kill everything", control_time, \
			offsetof(struct control, grace_usec)                               \
	}
#define CONTROL_SIGNAL_ROW(what)                                                               \
	{                                                                                      \
		"signal", 's', "SIGNAL", what, option_signal, offsetof(struct control, signal) \
	}

enum control_outcome {
	CONTROL_DONE,
	CONTROL_ORPHAN, /* nobody supervises it: the fault text says so */
	CONTROL_FAILED, /* it could not, and has said why */
};

/* One container: an outcome, or a fault for its line of complaint. */
typedef int (*control_one)(struct state *s, struct control *ctl);

int control_time(void *ctx, const struct option *o, const char *value);

/* A name that can be several containers' is wrong usage: nothing is done then, for none. 0 or that
 * fault. */
int control_check_names(char **names, int n);

/* Options, then each name: the command's exit status. */
int control_each(const struct option_table *table, struct control *ctl, int argc, char **argv,
	control_one one);

/* Every container there is, one after the other; what one faults on is told. The exit status. */
int control_all(int (*one)(struct state *s, void *ctx), void *ctx);

struct stop_req control_stop_request(const struct control *ctl);

/* Until it is down for good, whichever way that is to be learned. CLIENT_DONE with *e filled in,
 * GONE when there is no journal of an end (nothing ever ran, or the host restarted), or a fault. */
int control_await_end(struct client *c, const struct state *s, struct exit_info *e);

/* With force also one that runs: it is killed first. 0 or a fault. */
int control_remove(struct state *s, bool force);
