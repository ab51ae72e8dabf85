/* The calls under way on the container's API sockets, in a memfd that the keeper holds: what a shim
 * has taken off a connection and not finished, its successor finds here. Fixed size; only this
 * program reads and writes it, one version of it at a time: a table of another size is not
 * believed, and its connections are closed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CALLS_MAX	256u
#define CALLS_CONNS_MAX 128u

enum call_conn_flags {
	CONN_PARTIAL = 1, /* part of a frame was taken off: nobody but its taker can go on */
};

struct call_conn {
	uint64_t id; /* the keeper's; 0: free */
	uint32_t last_stream;
	uint32_t flags;
	uint64_t drain; /* bytes of a refused frame that are still to be thrown away */
};

struct call {
	uint64_t conn; /* 0: free */
	uint32_t stream;
	uint16_t method;   /* enum call_method */
	uint16_t answered; /* init has: err is its word */
	union {
		uint64_t seq; /* CALL_WATCH: the last event sent */
		struct {
			int32_t asker; /* the shim that has asked init; a successor asks again */
			int32_t err;
			uint32_t verb; /* INIT_SIGNAL or INIT_RESTART, and its body */
			uint32_t signo, flags;
			uint64_t grace_usec;
		} ask; /* CALL_ASK */
		uint64_t room[5];
	};
};

enum call_method {
	CALL_WATCH = 1,
	CALL_WAIT, /* until the container is down */
	CALL_ASK,  /* until init has answered */
};

struct calls_head {
	uint64_t magic;
	uint32_t version, size;
};

struct calls_table {
	struct calls_head head;
	struct call_conn conns[CALLS_CONNS_MAX];
	struct call calls[CALLS_MAX];
};

struct calls {
	int fd; /* -1: none yet */
	struct calls_table *table;
};

/* Takes over fd (the predecessor's), or makes a table (fd < 0). true: it is the predecessor's. A
 * fault leaves nothing. */
int calls_open(struct calls *c, int fd, bool *inherited);
void calls_close(struct calls *c);

/* The connection's entry, made when there is none; NULL: the table is full. */
struct call_conn *calls_conn(struct calls *c, uint64_t id);
void calls_conn_drop(struct calls *c, uint64_t id); /* and all its calls */

struct call *calls_add(struct calls *c, uint64_t conn, uint32_t stream, enum call_method method);
void calls_drop(struct call *call);
