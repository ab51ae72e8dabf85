/* One packet of the SEQPACKET sockets between the programs: a fixed header, a fixed-layout body,
 * and descriptors. A packet is whole or not there. libc-neutral: shared with init. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define CHANNEL_BODY_MAX 8192u
#define CHANNEL_FDS_MAX	 12u

struct msg {
	uint16_t verb;
	uint16_t nfds; /* descriptors that must have come along */
	uint32_t len;  /* of the body, bytes */
	uint64_t tag;  /* the asker's own, echoed in the answer */
};

struct packet {
	struct msg h;
	int fds[CHANNEL_FDS_MAX]; /* close-on-exec; the receiver owns them; -1 once taken */
	unsigned char body[CHANNEL_BODY_MAX] __attribute__((aligned(8)));
};

/* Never blocks: -EAGAIN when the peer's queue is full. body may be NULL when len is 0. 0 or -errno.
 */
int channel_send(int fd, uint16_t verb, uint64_t tag, const void *body, size_t len, const int *fds,
	size_t nfds);

/* 1: a packet is in p; 0: the peer is gone; -EAGAIN: nothing there (only with dontwait);
 * -EBADMSG: not one of ours (its fds are closed), the channel is still usable. */
int channel_recv(int fd, struct packet *p, int dontwait);

/* The same without taking the packet off the queue, and never waiting: whoever is killed before it
 * calls channel_skip() leaves the request to its successor. */
int channel_peek(int fd, struct packet *p);
void channel_skip(int fd);

/* Takes the i-th descriptor out of p (-1 if there is none): the caller owns it. */
int packet_take_fd(struct packet *p, unsigned i);

/* Closes what has not been taken. */
void packet_finish(struct packet *p);
