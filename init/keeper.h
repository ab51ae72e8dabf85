/* The keeper's state, and its two files' ways to each other. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "init/brood.h"
#include "init/store.h"
#include "ipc/channel.h"
#include "ipc/verbs.h"

/* In the order of its pages: what is always in use and the beginning of a packet lie in the first;
 * the store is filled from its end, the brood from its beginning, so that what they mostly hold
 * lies in one more. Pages that are never written cost nothing. */
struct keeper {
	const char *id;
	int signals, listeners[SOCKETS];
	int shim_channel, launch_channel;
	int launch_init; /* our end of init's channel, until its launch has been told; else -1 */
	bool hello_told, end_told, launched_told;
	bool shim_ready, retiring, leaving;
	bool adopted;
	bool launch_told, have_result;
	uint32_t revivals;
	uint64_t backoff_usec;
	uint64_t revive_at; /* monotonic; 0: the shim lives */
	uint64_t next_conn;
	struct launch_req launch;
	struct launch_req
		next_launch; /* asked for while the one before was still ending; nonce 0: none */
	struct launch_result result; /* of launch.nonce, once have_result */
	struct packet packet;
	struct store store;
	struct brood brood;
};

extern struct keeper keeper;

bool keeper_finds(const char *name); /* a file of the state directory */

void launches_ahead(void);
void launches_asked(struct packet *p); /* KEEPER_LAUNCH */
void launches_drain(void);	       /* what the launch has said */
void launches_died(void);
