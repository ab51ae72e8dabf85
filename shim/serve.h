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
	bool held;		/* its next request waits until others' are answered, or for room */
	bool inherited;		/* the first request may be one that a predecessor has dealt with */
	uint64_t timeout;	/* usec, of the request that is looked at now; 0: none */
	unsigned next_call;	/* whose turn it is in the table of calls */
	unsigned char *partial; /* owned: a frame that did not come in one piece */
	uint32_t partial_len, partial_size;
	struct loop_timer deadline; /* by which the rest must be here */
	struct exec_req exec;	    /* of the Exec that is pending, for the journal */
	char *warning;		    /* owned, or NULL: what the Update `warned` has left out */
	uint32_t warned;
};

struct serve {
	struct conn *first;
	uint32_t partial_bytes;		/* that frames in pieces may grow to, of all connections */
	struct loop_timer push_timer;	/* streams have something to send */
	struct loop_timer follow_timer; /* there is more output */
	struct loop_timer late_timer;	/* a call's deadline */
	struct loop_timer stats_timer;
	struct loop_io stdin_room; /* the service's stdin takes something again */
	uint64_t stats_due;	   /* when it fires, CLOCK_BOOTTIME; 0: it does not run */
};

enum served {
	SERVED,		/* answered, or under way: the request is taken off the socket */
	SERVED_BLOCKED, /* the answer did not fit: done again when there is room */
	SERVED_LATER, /* too much is under way, or init is being asked: done again on any change */
};

/* A method. req is decoded, and freed by the caller. */
struct serve_method {
	const char *service, *name;
	const ProtobufCMessageDescriptor *request;
	bool changes; /* for the control socket alone */
	enum served (*handle)(struct conn *c, uint32_t stream, const void *req);
};

/* shim/serve_supervisor.c, shim/serve_steer.c, …; a list ends with name NULL */
extern const struct serve_method serve_supervisor_methods[];
extern const struct serve_method serve_steer_methods[];
extern const struct serve_method serve_post_mortem_methods[];
extern const struct serve_method serve_logs_methods[];
extern const struct serve_method serve_stats_methods[];
extern const struct serve_method serve_change_methods[];
extern const struct serve_method serve_exec_methods[];
extern const struct serve_method serve_attach_methods[];

/* Goes on with a call that is under way: sends what there is for it. Called whenever something has
 * changed and when a client takes more again, so it looks at how things are, not at what happened.
 */
/* For a method that ends once init has the new policy; *ret NULL: not now, or refused already. */
enum served steer_begin_policy(struct conn *c, uint32_t stream, struct call **ret);
void steer_ask_policy(struct conn *c, struct call *call); /* what the settings say now */
/* shim/serve_change.c: the answer to an Update, and what it is to say of the rules. */
void serve_warn_of(struct conn *c, uint32_t stream, const char *left_out);
typedef enum served (*serve_answerer)(struct conn *, uint32_t stream, const ProtobufCMessage *);
enum served serve_updated(struct conn *c, uint32_t stream, serve_answerer answer);
void steer_settle(struct conn *c, struct call *call);
/* What a predecessor has asked of init for this connection is asked before anything new: init
 * remembers the newest few. */
void steer_ask_again(struct shim *s, uint64_t conn);
/* init has answered what it was asked under `tag`. */
void steer_answered(struct shim *s, uint64_t tag, int err);
void steer_unanswered(struct shim *s); /* init is gone */

void serve_setup(struct shim *s);
/* Takes over fd: the table of a predecessor, or -1. Before the first connection. 0 or a fault. */
int serve_open(struct shim *s, int calls_fd);
/* Takes over fd. */
void serve_add(struct shim *s, struct held_conn peer, int fd);
void serve_push(struct loop_timer *t);
void serve_late(struct loop_timer *t); /* and a call may be over its deadline */
void serve_changed(struct shim *s);    /* the journal has grown: streams go on in the next turn */
void serve_finish(struct shim *s);     /* sends what streams have left, closes everything */
/* Who follows has not been sent all that there is: the end waits a while for that. */
bool serve_behind(const struct shim *s);

/* Answers. A message that does not fit a frame is an error of ours, and is answered as one. */
enum served serve_answer(struct conn *c, uint32_t stream, const ProtobufCMessage *m);
enum served serve_data(
	struct conn *c, uint32_t stream, const ProtobufCMessage *m); /* of a stream */
enum served serve_error(struct conn *c, uint32_t stream, enum ttrpc_code code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* What was asked has been done: answered by an empty message, and done no second time, whatever
 * becomes of the answer or of this shim. */
enum served serve_done(struct conn *c, uint32_t stream);
/* The same by a message, which is empty should it be told a second time. */
enum served serve_done_with(struct conn *c, uint32_t stream, const ProtobufCMessage *m);
/* A call that goes on: *ret, or NULL when there is no room, which is then answered. */
enum served serve_begin(struct conn *c, uint32_t stream, enum call_method method, const char *name,
	struct call **ret);

/* One send, whole or not at all. */
enum served serve_send(struct conn *c, const struct msg_frame *f);

/* shim/watch.c */
enum served watch_begin(struct conn *c, uint32_t stream, uint64_t from_seq);
void watch_push(struct conn *c, struct call *call);
enum served watch_list(struct conn *c, uint32_t stream, uint64_t from_seq, uint32_t limit);
uint64_t watch_instance(const struct shim *s);

/* shim/serve_logs.c */
void logs_push(struct conn *c, struct call *call);
void logs_forget(uint64_t conn);	/* its calls are over */
void logs_end(const struct call *call); /* closes what is open for it */
enum served logs_from_end(
	struct conn *c, uint32_t stream); /* Logs, of what is written from now on */
/* shim/serve_exec.c: what init says of what it was asked under `tag` */
void exec_begun(struct shim *s, uint64_t tag, int32_t pid, int pidfd);
void exec_answered(struct shim *s, uint64_t tag, int err);
void exec_unanswered(struct shim *s);				       /* init is gone */
const struct exec_req *exec_asked(const struct shim *s, uint64_t tag); /* NULL: not asked here */
void exec_settle(struct conn *c, struct call *call);
enum served exec_signal(struct conn *c, uint32_t stream, uint32_t id, uint32_t signo);
/* shim/serve_attach.c */
void attach_push(struct conn *c, struct call *call);

/* shim/serve_stdin.c */
enum served stdin_write(struct conn *c, uint32_t stream, const void *req);
void stdin_settle(struct conn *c, struct call *call);
/* shim/serve_stats.c */
void stats_push(struct conn *c, struct call *call);
