/* Every message of the API and its envelope, decoded behind the allowance: whoever is a service's
 * method is here, without being named. */
#include "tests/fuzz/fuzz.h"

#include "ipc/msg.h"
#include "ipc/proto/holdfast/v1/supervisor.pb-c.h"
#include "ipc/proto/ttrpc.pb-c.h"
#include "ipc/ttrpc.h"

static const ProtobufCMessageDescriptor *choose(unsigned n)
{
	const ProtobufCServiceDescriptor *s = &holdfast__v1__supervisor__descriptor;

	n %= 2 * s->n_methods + 2;
	if (n < 2)
		return n ? &holdfast__ttrpc__response__descriptor
			 : &holdfast__ttrpc__request__descriptor;
	n -= 2;
	return n % 2 ? s->methods[n / 2].output : s->methods[n / 2].input;
}

/* What was decoded can be encoded, and means the same. */
static void round_trip(const ProtobufCMessageDescriptor *d, const ProtobufCMessage *m)
{
	static unsigned char first[256 << 10], second[256 << 10];
	size_t n = msg_pack(m, first, sizeof(first)), k;
	ProtobufCMessage *again;

	if (n == 0)
		return;
	again = msg_unpack(d, first, n);
	if (!again)
		return; /* what it takes beyond the message itself may not fit a second time */
	k = msg_pack(again, second, sizeof(second));
	claim(k == n && memcmp(first, second, n) == 0);
	msg_free(again);
}

static void text(const uint8_t *data, size_t size)
{
	char in[300], out[200], again[200];

	if (size >= sizeof(in))
		return;
	memcpy(in, data, size);
	in[size] = '\0';
	msg_text(out, sizeof(out), in);
	claim(strlen(out) <= strlen(in) && strlen(out) < sizeof(out));
	msg_text(again, sizeof(again), out);
	claim(strcmp(out, again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tape t = {data, size};
	const ProtobufCMessageDescriptor *d = choose(tape_byte(&t));
	ProtobufCMessage *m;
	struct msg_frame f;
	size_t n;
	const uint8_t *bytes = tape_span(&t, 64 << 10, &n);

	text(bytes, n);
	m = msg_unpack(d, bytes, n);
	if (!m)
		return 0;
	round_trip(d, m);
	if (msg_response(&f, 1, TTRPC_OK, NULL, m) == 0) {
		struct ttrpc_head h = ttrpc_get(f.bytes);

		claim(f.len <= TTRPC_FRAME_MAX && f.len == TTRPC_HEAD + h.length);
	}
	msg_free(m);
	return 0;
}
