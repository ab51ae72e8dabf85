/* The API sockets: connections, whole frames, the table of methods. A request stays in its socket
 * until it is answered, or until the table of calls (shim/calls.h) says that it is under way; so no
 * death of a shim loses one. Nothing is queued for a client: who does not read is asked again when
 * there is room, and every stream goes on from its own place. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/base/loop.h"
#include "ipc/msg.h"
#include "ipc/verbs.h"
#include "shim/calls.h"

struct shim;

#define SERVE_REQUEST_MAX (64u << 10) /* bytes behind a frame's head */

struct conn {
	struct conn *next; /* serve::first */
	struct shim *shim;
	struct loop_io io;
	struct held_conn peer;
	struct call_conn *entry;
	bool blocked;		/* it does not take what we have for it now */
	bool doomed;		/* closed at the end of this turn */
	unsigned char *partial; /* owned: a frame that did not come in one piece */
	uint32_t partial_len, partial_size;
	struct loop_timer deadline; /* by which the rest must be here */
};

struct serve {
	struct conn *first;
	struct loop_timer push_timer; /* streams have something to send */
};

enum served {
	SERVED,		/* answered, or under way: the request is taken off the socket */
	SERVED_BLOCKED, /* the answer did not fit: done again when there is room */
};

/* A method. req is decoded, and freed by the caller. */
struct serve_method {
	const char *service, *name;
	const ProtobufCMessageDescriptor *request;
	bool changes; /* for the control socket alone */
	enum served (*handle)(struct conn *c, uint32_t stream, const void *req);
};

/* shim/serve_supervisor.c, shim/serve_steer.c; a list ends with name NULL */
extern const struct serve_method serve_supervisor_methods[];
extern const struct serve_method serve_steer_methods[];

/* Goes on with a call that is under way: sends what there is for it. Called whenever something has
 * changed and when a client takes more again, so it looks at how things are, not at what happened.
 */
void steer_settle(struct conn *c, struct call *call);
/* init has answered what it was asked under `tag`. */
void steer_answered(struct shim *s, uint64_t tag, int err);
void steer_unanswered(struct shim *s); /* init is gone */

void serve_setup(struct shim *s);
/* Takes over fd: the table of a predecessor, or -1. Before the first connection. 0 or a fault. */
int serve_open(struct shim *s, int calls_fd);
/* Takes over fd. */
void serve_add(struct shim *s, struct held_conn peer, int fd);
void serve_changed(struct shim *s); /* the journal has grown: streams go on in the next turn */
void serve_finish(struct shim *s);  /* sends what streams have left, closes everything */

/* Answers. A message that does not fit a frame is an error of ours, and is answered as one. */
enum served serve_answer(struct conn *c, uint32_t stream, const ProtobufCMessage *m);
enum served serve_error(struct conn *c, uint32_t stream, enum ttrpc_code code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* One send, whole or not at all. */
enum served serve_send(struct conn *c, const struct msg_frame *f);

/* shim/watch.c */
enum served watch_begin(struct conn *c, uint32_t stream, uint64_t from_seq);
void watch_push(struct conn *c, struct call *call);
enum served watch_list(struct conn *c, uint32_t stream, uint64_t from_seq, uint32_t limit);
uint64_t watch_instance(const struct shim *s);
