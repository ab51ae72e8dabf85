#include "ipc/msg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/base/mem.h"
#include "ipc/proto/ttrpc.pb-c.h"

#define TEXT_MAX 1024

static void *allowance_alloc(void *data, size_t size)
{
	size_t *left = data;

	if (size > *left)
		return NULL;
	*left -= size;
	return malloc(size ? size : 1);
}

static void plain_free(void *data, void *p)
{
	free(p);
}

void *msg_unpack(const ProtobufCMessageDescriptor *d, const void *data, size_t len)
{
	size_t left = MSG_ALLOWANCE;
	ProtobufCAllocator a = {
		.alloc = allowance_alloc, .free = plain_free, .allocator_data = &left};

	return protobuf_c_message_unpack(d, &a, len, data);
}

void msg_free(void *message)
{
	ProtobufCAllocator a = {.free = plain_free};

	if (message)
		protobuf_c_message_free_unpacked(message, &a);
}

size_t msg_pack(const ProtobufCMessage *m, void *buf, size_t size)
{
	if (protobuf_c_message_get_packed_size(m) > size)
		return 0;
	return protobuf_c_message_pack(m, buf);
}

/* UTF-8 ---------------------------------------------------------------------------------------- */

/* Length of the well-formed sequence at p (Unicode 15, table 3-7), 0: there is none. */
static size_t utf8_len(const unsigned char *p)
{
	size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

	if (p[0] > 0xf4 || n == 0)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
		(p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

void msg_text(char *buf, size_t size, const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t at = 0;

	while (*p) {
		size_t n = utf8_len(p);

		if (at + (n ? n : 1) >= size)
			break;
		if (n)
			memcpy(buf + at, p, n);
		else
			buf[at] = '?';
		at += n ? n : 1;
		p += n ? n : 1;
	}
	buf[at] = '\0';
}

/* Frames --------------------------------------------------------------------------------------- */

static int finish(struct msg_frame *f, struct ttrpc_head head, const ProtobufCMessage *m)
{
	size_t len = protobuf_c_message_get_packed_size(m);

	f->len = 0;
	if (len > sizeof(f->bytes) - TTRPC_HEAD)
		return -EMSGSIZE;
	head.length = (uint32_t)len;
	ttrpc_put(f->bytes, head);
	protobuf_c_message_pack(m, f->bytes + TTRPC_HEAD);
	f->len = TTRPC_HEAD + len;
	return 0;
}

/* The payload of an envelope is bytes: m is encoded first, into memory of its own. */
static int pack_payload(const ProtobufCMessage *m, ProtobufCBinaryData *ret)
{
	size_t len = m ? protobuf_c_message_get_packed_size(m) : 0;

	*ret = (ProtobufCBinaryData){0};
	if (len == 0)
		return 0;
	if (len > TTRPC_FRAME_MAX)
		return -EMSGSIZE;
	ret->data = malloc(len);
	if (!ret->data)
		return -ENOMEM;
	ret->len = protobuf_c_message_pack(m, ret->data);
	return 0;
}

int msg_response(struct msg_frame *f, uint32_t stream, enum ttrpc_code code, const char *text,
	const ProtobufCMessage *m)
{
	Holdfast__Ttrpc__Status status;
	Holdfast__Ttrpc__Response response;
	char clean[TEXT_MAX];
	int r = 0;

	f->len = 0;
	holdfast__ttrpc__status__init(&status);
	holdfast__ttrpc__response__init(&response);
	response.status = &status;
	status.code = (int32_t)code;
	if (code) {
		msg_text(clean, sizeof(clean), text ? text : "");
		status.message = clean;
	} else {
		r = pack_payload(m, &response.payload);
	}
	if (r == 0)
		r = finish(f, (struct ttrpc_head){.stream = stream, .type = TTRPC_RESPONSE},
			&response.base);
	free(response.payload.data);
	return r;
}

int msg_data(struct msg_frame *f, uint32_t stream, const ProtobufCMessage *m)
{
	return finish(f, (struct ttrpc_head){.stream = stream, .type = TTRPC_DATA}, m);
}

int msg_request(struct msg_frame *f, uint32_t stream, uint8_t flags, const char *service,
	const char *method, const ProtobufCMessage *m)
{
	Holdfast__Ttrpc__Request request;
	int r;

	f->len = 0;
	holdfast__ttrpc__request__init(&request);
	r = pack_payload(m, &request.payload);
	/* protobuf-c's strings are not const; packing does not write to them */
	request.service = (char *)(uintptr_t)service;
	request.method = (char *)(uintptr_t)method;
	if (r == 0)
		r = finish(f,
			(struct ttrpc_head){
				.stream = stream, .type = TTRPC_REQUEST, .flags = flags},
			&request.base);
	free(request.payload.data);
	return r;
}
