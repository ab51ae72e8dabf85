/* ttrpc's frame: a head of ten bytes, all integers big-endian, then `length` bytes. Pure.
 *
 *   0 length (4)   4 stream (4)   8 type   9 flags
 *
 * The format is ttrpc's (containerd/ttrpc, PROTOCOL.md); streams are those of its version 1.2. */
#pragma once

#include <stdint.h>

#define TTRPC_HEAD	 10u
#define TTRPC_LENGTH_MAX (4u << 20) /* what any peer of ttrpc accepts, bytes behind the head */
#define TTRPC_FRAME_MAX \
	(32u << 10) /* what we send, head included: one sendmsg, whole or not there */

enum ttrpc_type { TTRPC_REQUEST = 1, TTRPC_RESPONSE = 2, TTRPC_DATA = 3 };

enum ttrpc_flags {
	TTRPC_REMOTE_CLOSED = 1, /* the sender sends nothing more on this stream */
	TTRPC_REMOTE_OPEN = 2,	 /* the sender of a request will send data */
	TTRPC_NO_DATA = 4,	 /* a closing frame without a message */
};

/* google.rpc.Code, as far as we give them. */
enum ttrpc_code {
	TTRPC_OK = 0,
	TTRPC_CANCELLED = 1,
	TTRPC_UNKNOWN = 2,
	TTRPC_INVALID_ARGUMENT = 3,
	TTRPC_DEADLINE_EXCEEDED = 4,
	TTRPC_NOT_FOUND = 5,
	TTRPC_ALREADY_EXISTS = 6,
	TTRPC_PERMISSION_DENIED = 7,
	TTRPC_RESOURCE_EXHAUSTED = 8,
	TTRPC_FAILED_PRECONDITION = 9,
	TTRPC_UNIMPLEMENTED = 12,
	TTRPC_INTERNAL = 13,
	TTRPC_UNAVAILABLE = 14,
};

struct ttrpc_head {
	uint32_t length; /* of the payload, bytes */
	uint32_t stream; /* odd: opened by the client */
	uint8_t type, flags;
};

void ttrpc_put(unsigned char buf[TTRPC_HEAD], struct ttrpc_head head);
struct ttrpc_head ttrpc_get(const unsigned char buf[TTRPC_HEAD]);
