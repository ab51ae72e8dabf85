/* Notifications of the service (NOTIFY_SOCKET inside), and the descriptors that it has stored. The
 * keeper holds the socket; a datagram stays in it until all that follows from it has been done, so
 * that a successor finds it again: everything here may be done twice. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/base/loop.h"
#include "ipc/stored.h"

struct shim;

struct stored {
	struct stored_name name;
	int fd;
};

struct notify {
	struct loop_io io;	 /* fd -1: this container has none */
	struct loop_timer timer; /* reading goes on, whatever it waited for */
	uint64_t tag;		 /* of an INIT_STORE that init has not answered, 0: none */
	struct stored *stored;	 /* PLAN_STORED_MAX of them; NULL: none was ever stored */
	unsigned count;
	bool full_told; /* one warning until there is room again */
};

void notify_setup(struct shim *s);
void notify_held(struct shim *s, uint64_t key, int fd);	  /* the keeper's; takes over fd */
void notify_stored(struct shim *s, uint64_t key, int fd); /* the same */
bool notify_is_inside(const struct shim *s, int32_t pid); /* a process of the container */
void notify_catch_up(struct shim *s);			  /* what waits is heard now */
void notify_answered(struct shim *s, uint64_t tag);	  /* init has replied */

/* The sandbox is about to go: takes what its service has still said, then closes the socket. */
void notify_end(struct shim *s);
