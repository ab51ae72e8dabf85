/* Protobuf messages in bounded memory. A decoder may ask for many times the bytes that it reads, so
 * it gets its memory from an allowance; and all messages here are flat, since it knows no limit of
 * depth. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/ttrpc.h"

#define MSG_ALLOWANCE (256u << 10) /* bytes of heap for one decoded message of at most 64 KiB */

/* Decodes; NULL: it is no such message, or does not fit the allowance. msg_free() it. */
void *msg_unpack(const ProtobufCMessageDescriptor *d, const void *data, size_t len);
void msg_free(void *message); /* NULL is fine */

/* Bytes of m, encoded; 0 when it does not fit `size`. */
size_t msg_pack(const ProtobufCMessage *m, void *buf, size_t size);

/* A frame of ours, head included, in one buffer. */
struct msg_frame {
	size_t len; /* 0: nothing */
	unsigned char bytes[TTRPC_FRAME_MAX];
};

/* A response: m (may be NULL: an empty one) when code is 0, else the sentence, made valid UTF-8 and
 * cut to fit. 0, or -EMSGSIZE when m does not fit a frame. */
int msg_response(struct msg_frame *f, uint32_t stream, enum ttrpc_code code, const char *text,
	const ProtobufCMessage *m);

/* One message of a stream: 0 or -EMSGSIZE. */
int msg_data(struct msg_frame *f, uint32_t stream, const ProtobufCMessage *m);

/* A request (of a client): payload m. 0 or -EMSGSIZE. */
int msg_request(struct msg_frame *f, uint32_t stream, uint8_t flags, const char *service,
	const char *method, const ProtobufCMessage *m);

/* Copies text into buf, what is no UTF-8 in it replaced by '?'. */
void msg_text(char *buf, size_t size, const char *text);
