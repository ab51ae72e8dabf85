/* The foreground of `run`: the caller's stdio and signals are the service's, until it is down. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "cli/client.h"

struct attach_conf {
	bool tty, interactive, remove;
	bool keep;	   /* a start that fails takes nothing away: it was there before */
	bool from_end;	   /* show what is written from now on, not what earlier runs wrote */
	bool join;	   /* it runs already; ^C twice ends nothing there */
	bool keep_signals; /* they end this command, and are not passed on */
	const char *log_dir;
	const char *command;	 /* argv[0], for messages */
	const char *detach_keys; /* cli/keys.h; NULL: the usual */
};

/* Blocks the signals that will be passed on: before anything is started, so that none is lost. */
void attach_block_signals(void);

/* Did a signal come meanwhile that would have ended this command? */
bool attach_interrupted(void);

void attach_unblock_signals(void);

/* No status: START was not sent, so the container has to go. */
#define ATTACH_NOT_STARTED (-1)

/* Starts the container behind c (join: does not), stays until its end, returns the status to exit
 * with. */
int attach_run(struct client *c, const struct state *s, const struct attach_conf *conf);

/* Did it end in a way after which the supervisor removes it by itself? */
bool attach_removes(const struct exit_info *e);

/* Prints why a start failed and returns its status. */
int attach_failed(const struct launch_result *failed);

/* Prints what there is to say about how it ended and returns its status. */
int attach_ended(const struct exit_info *e, const char *command);

/* Prints the warnings of a start. */
void attach_warnings(const struct client_started *started);
