/* Inside libholdfast: one connection and what was read of it. */
#pragma once

#include "ipc/lib/holdfast.h"
#include "ipc/proto/holdfast/v1/supervisor.pb-c.h"
#include "ipc/ttrpc.h"

#define CONNECTION_ERROR_MAX 640

struct holdfast {
	int fd;
	int code;
	char error[CONNECTION_ERROR_MAX];
	uint64_t timeout_usec;
	uint32_t stream;   /* of the newest request */
	unsigned char *in; /* owned: what was read; the frame at `at` has not been taken */
	size_t in_len, in_size, at;
	void *message; /* owned: what the newest result points into */

	/* a watch */
	uint64_t instance; /* whose events those are */
	uint64_t sequence; /* newest that was given out */
	Holdfast__V1__WatchResponse *batch;
	size_t batch_at;
};

/* Notes the sentence. Returns err. */
int connection_fail(struct holdfast *h, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* A call with messages of the .proto. *ret is to be freed by msg_free(). */
int connection_call(struct holdfast *h, const char *method, const ProtobufCMessage *request,
	const ProtobufCMessageDescriptor *answer, void **ret);

/* One whose answer says nothing but that it is done. */
int connection_simple(struct holdfast *h, const char *method, const ProtobufCMessage *request,
	const ProtobufCMessageDescriptor *answer);
