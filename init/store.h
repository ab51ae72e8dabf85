/* The descriptors that the keeper holds for its shims, by name (kind and key). Fixed size. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/verbs.h"

#define STORE_CONNS_MAX	 128 /* clients of one container at a time; more wait in the backlog */
#define STORE_CONNS_KEPT 8   /* of those, for the sockets that are root's alone */
#define STORE_EXEC_MAX	 48  /* three for each exec that has input or output */
#define STORE_MAX	 (STORE_CONNS_MAX + 48 + PLAN_PASSED_MAX + STORE_EXEC_MAX)

struct store_slot {
	struct held name;      /* name.kind == 0: free */
	struct held_conn peer; /* HELD_CONN: who connected */
	int fd;
	bool told; /* the present shim has got it */
};

/* Taken from the end on, next to what the keeper touches anyway. A slot that was never taken is not
 * even read: on some kernels that alone makes its page resident. */
struct store {
	struct store_slot slots[STORE_MAX];
	unsigned taken; /* so many, at the end, are or were in use */
	unsigned conns;
};

/* The index of the first of those. */
static inline unsigned store_first(const struct store *s)
{
	return STORE_MAX - s->taken;
}

/* Takes over fd, which replaces what had this name. -ENOSPC: full (fd is closed). */
int store_put(struct store *s, struct held name, int fd, bool told);
void store_drop(struct store *s, struct held name);
struct store_slot *store_find(struct store *s, uint32_t kind, uint64_t key);
/* There is room for a connection of this socket: whom an operator lets in to look can't keep out
 * the operator. */
bool store_takes(const struct store *s, enum container_socket from);
void store_untell(struct store *s); /* a new shim knows nothing */
