/* The connections on the container's socket, and what their requests do. The keeper holds each of
 * them too: a client does not notice that a shim died. A request stays in the socket until it has
 * been answered, so a successor finds it; only a stdin chunk is taken off first (never written
 * twice). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/base/loop.h"
#include "ipc/verbs.h"

struct shim;

struct client {
	struct client *next; /* clients::first */
	struct shim *shim;
	struct loop_io io;
	struct held_conn peer;
	bool waits;   /* for the end, as far as we know: an inherited one may */
	bool removes; /* it asked for the removal: the end does not wait for it */
	bool doomed;  /* shut down: closed in the turn to come */
	bool held;    /* its request waits until others' are answered */
	bool reread;  /* its first request may be one that a predecessor has dealt with */
	uint64_t asked,
		asked_tag; /* what init was asked for it, and the request's tag; 0: nothing */
	uint64_t stdin_tag;
	uint32_t stdin_len, stdin_done; /* a chunk that the service has not taken yet */
	unsigned char *stdin_chunk;	/* owned; NULL: none */
	struct exec_req exec;		/* what it asked for, until that has begun */
};

struct clients {
	struct client *first;
	struct loop_io stdin_room; /* writable: a waiting chunk may go on */
};

/* For the handlers of requests in files of their own (shim/execs.c). */
void client_send(struct client *c, uint16_t verb, uint64_t tag, const void *body, size_t len);
void client_send_fd(
	struct client *c, uint16_t verb, uint64_t tag, const void *body, size_t len, int fd);
void client_reply(struct client *c, uint64_t tag, int err, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
uint64_t client_ask_tag(const struct client *c, uint64_t tag);
void client_asked(struct client *c, uint64_t tag);
/* This is what init was asked for it. Once the client has its answer, in this order, the request
 * goes off its socket: who dies in between answers twice. */
bool client_has_asked(const struct client *c, uint64_t asked);
void client_settled(struct client *c);

/* Takes over fd. */
void clients_add(struct shim *s, struct held_conn peer, int fd, bool inherited);
void clients_broadcast(struct shim *s, uint16_t verb, const void *body, size_t len);
void clients_progress(struct shim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* init has answered what it was asked under `asked`. */
void clients_answered(struct shim *s, uint64_t asked, int err, const char *text);
void clients_unanswered(struct shim *s);    /* init is gone: nobody will answer */
bool clients_waiting(const struct shim *s); /* somebody still reads output until the end */
/* The container is gone and its name free: nobody need wait for the end of its supervisors. */
void clients_release(struct shim *s);
