/* The calls under way on the container's API sockets, in a memfd that the keeper holds: what a shim
 * has taken off a connection and not finished, its successor finds here. Fixed size; only this
 * program reads and writes it, one version of it at a time: a table of another size is not
 * believed, and its connections are closed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CALLS_MAX	    256u
#define CALLS_CONNS_MAX	    128u
#define CALLS_A_CONN	    64u /* of one connection */
#define CALLS_KEPT	    64u /* for those who may change something */
#define CALLS_ASKED	    6u	/* requests of the tool's clients that init has not answered */
#define CALLS_CHUNKS	    64u /* of standard input that wait for room */
#define CALLS_CHUNKS_A_CONN 16u
#define CALLS_CHUNK_BYTES   4096u

enum call_conn_flags {
	CONN_PARTIAL = 1,  /* part of a frame was taken off: nobody but its taker can go on */
	CONN_OBSERVE = 2,  /* of the observe socket */
	CONN_ADMITTED = 4, /* its peer was looked at: it may have ended since */
};

struct call_conn {
	uint64_t id;	      /* the keeper's; 0: free */
	uint32_t last_stream; /* dealt with: set once its calls are whole, before it is taken off */
	uint32_t flags;
	uint64_t drain;	      /* bytes of a refused frame that are still to be thrown away */
	uint32_t done_stream; /* its effect is there, its answer (an empty one) may be, too */
	uint32_t pad;
};

struct call {
	uint64_t conn; /* 0: free */
	uint32_t stream;
	uint16_t method;   /* enum call_method */
	uint16_t answered; /* init has: err is its word */
	uint64_t deadline; /* CLOCK_MONOTONIC, from when on its client does not wait; 0: none */
	union {
		uint64_t seq; /* CALL_WATCH: the last event sent */
		struct {
			int32_t asker; /* the shim that has asked init; a successor asks again */
			int32_t err;
			uint32_t verb; /* INIT_SIGNAL, INIT_RESTART (and their bodies), INIT_POLICY
					*/
			uint32_t signo, flags;
			uint64_t grace_usec;
		} ask; /* CALL_ASK */
		struct {
			uint64_t at[2]; /* offset of each stream's next byte */
			uint32_t flags; /* CALL_LOGS_* */
			uint32_t exec;	/* CALL_ATTACH: whose */
		} logs;			/* CALL_LOGS, CALL_ATTACH */
		struct {
			int32_t asker, err; /* as in ask */
			uint32_t id;
			int32_t pid;
		} exec; /* CALL_EXEC, CALL_WAIT_EXEC, CALL_KILL_EXEC */
		struct {
			int32_t writer; /* the shim that is about to write, else 0 */
			int32_t wrote;	/* bytes, or -errno; counts once answered */
			uint32_t exec;	/* whose; 0: the service's */
			uint32_t len, close;
			uint32_t turn;	/* among those that wait; the lowest is first */
			uint32_t chunk; /* 1 + its place below; 0: its request is in its socket */
		} in;			/* CALL_STDIN */
		struct {
			uint64_t interval_usec;
			uint64_t due_boot; /* CLOCK_BOOTTIME of the next sample */
		} stats;		   /* CALL_STATS */
		uint64_t room[5];
	};
};

enum call_method {
	CALL_WATCH = 1,
	CALL_WAIT,  /* until the container is down */
	CALL_ASK,   /* until init has answered */
	CALL_START, /* until it is up, or is not to be */
	CALL_LOGS = 16,
	CALL_STATS,
	CALL_ATTACH,	/* until an exec's output has ended */
	CALL_EXEC,	/* until init has begun it: the request is in its socket still */
	CALL_EXEC_END,	/* the same, from then until it has ended: Exec with `wait` */
	CALL_WAIT_EXEC, /* until it has ended */
	CALL_KILL_EXEC, /* until init has told its pidfd; exec.pid is the signal */
	CALL_STDIN,	/* being written, or waiting for room */
};

#define CALL_LOGS_FOLLOW 1u
#define CALL_LOGS_STDOUT 2u
#define CALL_LOGS_STDERR 4u

struct calls_head {
	uint64_t magic;
	uint32_t version, size;
	uint32_t execs; /* begun over the API so far */
	uint32_t turns; /* chunks that had to wait so far */
};

struct calls_table {
	struct calls_head head;
	struct call_conn conns[CALLS_CONNS_MAX];
	struct call calls[CALLS_MAX];
	uint64_t asked[CALLS_ASKED]; /* tags; 0: free (shim/asks.c) */
	/* touched only when they are needed, so that nobody pays for them */
	unsigned char chunks[CALLS_CHUNKS][CALLS_CHUNK_BYTES] __attribute__((aligned(4096)));
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

/* NULL: the connection, its socket, or all together have as many as they may, and *why (may be
 * NULL) says which. What the caller fills in counts once the connection's last_stream says so. */
struct call *calls_add(
	struct calls *c, uint64_t conn, uint32_t stream, enum call_method method, const char **why);
/* How many of a method there are; of the observe socket only, if that is asked. */
unsigned calls_count(const struct calls *c, enum call_method method, bool observers);
/* The earliest deadline after `now`, 0: there is none. */
uint64_t calls_deadline(const struct calls *c, uint64_t now);
/* What a predecessor began and did not get as far as to count: its request is still there, and
 * comes anew. But init may have been asked already, so such a call counts from now on. */
void calls_settle_begun(struct calls *c, struct call_conn *conn);
/* The call of this request, NULL: there is none. */
struct call *calls_find(struct calls *c, uint64_t conn, uint32_t stream);
void calls_drop(struct call *call);
/* Takes data off its request: false: no room for it, of this connection or at all. From then on the
 * call is whole. */
bool calls_keep_chunk(struct calls *c, struct call *call, const void *data, uint32_t len);
const void *calls_chunk(const struct calls *c, const struct call *call);
void calls_forget_chunk(
	struct calls *c, struct call *call); /* it has been written, or never will be */
