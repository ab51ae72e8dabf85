/* Listeners that never close: the user's word [NAME=]ADDR as a socket address, the list of them in
 * the state directory (file `listeners`), and the sockets themselves.
 *
 *   ADDR   PORT                        tcp on every address, IPv6 and IPv4
 *          [tcp:|udp:]HOST:PORT        HOST an IPv4 address, or an IPv6 one in brackets
 *          tcp:PORT, udp:PORT
 *          [unix:]/PATH, [unix:]@NAME  stream; @NAME is abstract
 *          unix-dgram:..., unix-seqpacket:...
 *          a path may be followed by ,mode=OCTAL and ,owner=UID:GID
 *   NAME   1 to 255 of [A-Za-z0-9._-]: the socket's word in LISTEN_FDNAMES; not unique, "unknown"
 *          when it is not given (sd_listen_fds_with_names(3)) */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ipc/plan.h"

#define LISTEN_MAX	    PLAN_LISTEN_MAX
#define LISTEN_NAME_MAX	    PLAN_NAME_MAX
#define LISTEN_NAME_DEFAULT "unknown"
#define LISTEN_BACKLOG	    4096 /* the kernel caps it at net.core.somaxconn */
#define LISTEN_MODE_DEFAULT 0666u
#define LISTEN_ADDR_BYTES   128u

struct listen_addr {
	char name[LISTEN_NAME_MAX + 1];
	uint32_t type; /* SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET */
	uint32_t len;  /* of addr, bytes */
	uint32_t both; /* the IPv6 socket serves IPv4 as well; a host without IPv6 has IPv4 only */
	uint32_t mode; /* of a path's socket file */
	uint32_t uid, gid;
	unsigned char addr[LISTEN_ADDR_BYTES] __attribute__((aligned(8))); /* struct sockaddr_* */
};

/* 0, or -EINVAL with the fault text: what is wrong with it and the cure. */
int listen_parse(const char *text, struct listen_addr *ret);

/* As the user would write it, without the name: "tcp:127.0.0.1:80", "unix:/run/x.sock". In a
 * static buffer. */
const char *listen_text(const struct listen_addr *a);

const char *listen_path(const struct listen_addr *a); /* of its socket file; NULL: it has none */

/* The list in the state directory. Writing an empty one makes no file; a missing one is empty.
 * Reading gives the count, at most LISTEN_MAX, or a fault. */
int listen_write(int state_dirfd, const struct listen_addr *list, unsigned count);
int listen_read(int state_dirfd, struct listen_addr list[LISTEN_MAX]);

/* Makes the socket in the network namespace of the caller, bound and listening; a socket file that
 * nobody listens on any more is replaced. A descriptor, or a fault. */
int listen_open(const struct listen_addr *a);

/* Takes the socket file away, if it is that of fd, or (fd -1) nobody's any more. */
void listen_unlink(const struct listen_addr *a, int fd);
