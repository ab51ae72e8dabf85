/* Tells the service of pressure, in systemd's protocol: sockets inside of which it is told by
 * MEMORY_PRESSURE_WATCH, CPU_PRESSURE_WATCH and IO_PRESSURE_WATCH. Whoever has connected gets a
 * byte when there is pressure. The keeper holds listeners and connections, so they outlive a shim.
 */
#pragma once

#include <stdint.h>

#include "ipc/base/loop.h"

enum pressure_kind { PRESSURE_OF_MEMORY, PRESSURE_OF_CPU, PRESSURE_OF_IO };
#define PRESSURE_OF    3
#define PRESSURE_CONNS 16 /* of all kinds; who comes later takes the place of the oldest */

struct shim;

struct pressure_conn {
	struct loop_io io;
	uint64_t key;  /* HELD_PRESSURE_CONN's; 0: free */
	uint32_t said; /* bytes: who says too much is no watcher */
};

struct pressure_feeds {
	struct loop_io listeners[PRESSURE_OF];
	struct pressure_conn *conns; /* PRESSURE_CONNS of them; NULL: nobody has come yet */
	uint64_t next;
};

/* Wakes whoever watches. Nobody does: nothing happens. */
void pressure_feed(struct shim *s, enum pressure_kind kind);

void pressure_held(struct shim *s, uint64_t key, int fd);      /* the keeper's; takes over fd */
void pressure_conn_held(struct shim *s, uint64_t key, int fd); /* the same */
void pressure_end(struct shim *s);			       /* the sandbox is about to go */
