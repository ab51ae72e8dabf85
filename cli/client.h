/* A connection to a container's supervisor. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cli/state.h"
#include "ipc/channel.h"
#include "ipc/verbs.h"

struct client {
	int fd;	      /* -1: none */
	uint64_t tag; /* of the newest request */
};

enum client_outcome {
	CLIENT_DONE,
	CLIENT_GONE, /* nobody supervises (any more): the files tell */
};

#define CLIENT_TRIES 5 /* a supervisor may retire, or die, just as we ask it */

/* Connects to a supervised container; waits while the keeper is being born or reborn. An outcome or
 * a fault. */
int client_open(struct client *c, const struct state *s);

/* The same, but somebody has answered there, and where the service may run with nobody supervising
 * there is a new pair first, which goes on with it, or ends it where that can't be. GONE: it has
 * ended and its files are all there is. */
int client_revive(struct client *c, const struct state *s);

/* The same, but what can't be gone on with is left alone: a fault says why. */
int client_adopt(struct client *c, const struct state *s);

/* What the supervisor says of the container. Who is there answers at once: an outcome, or a fault
 * after 15 s of silence (-ETIMEDOUT). */
int client_look(struct client *c, const struct state *s, struct client_state *ret);

/* The fault after CLIENT_TRIES. */
int client_gone_again(const struct state *s);

void client_close(struct client *c);

/* Sends with a new tag; waits while the queue is full. 0, GONE or a fault. */
int client_send(struct client *c, uint16_t verb, const void *body, size_t len);

int client_send_fds(
	struct client *c, uint16_t verb, const void *body, size_t len, const int *fds, size_t nfds);

/* Next packet that is a verb of the shim's, of the right size. Progress lines are printed and
 * passed over. An outcome, a fault, or -EAGAIN with dontwait. */
int client_recv(struct client *c, struct packet *p, int dontwait);

/* Sends, then waits for the answer to it. */
int client_call(struct client *c, uint16_t verb, const void *body, size_t len, struct packet *p);

/* client_call for verbs that CLIENT_REPLY answers: its error becomes the fault. */
int client_ask(struct client *c, uint16_t verb, const void *body, size_t len);

/* After CLIENT_START, until it is known how that went: CLIENT_STARTED, CLIENT_FAILED or
 * CLIENT_EXITED in p. The shim tells that to every client at once, so there is no tag to match. */
int client_started(struct client *c, struct packet *p);

/* Until the service says READY=1, or it is all over: CLIENT_READY or CLIENT_EXITED is in p. An
 * outcome, or a fault. */
int client_ready(struct client *c, struct packet *p);

/* CLIENT_WAIT until the container is down for good. */
int client_wait(struct client *c, struct exit_info *ret);

/* CLIENT_REMOVE, until the supervisor is gone and with it every trace: that is when the name is
 * free. 0 or a fault. */
int client_remove(struct client *c, bool force);
