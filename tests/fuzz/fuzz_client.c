/* libholdfast against a server that says what it likes. */
#include "tests/fuzz/fuzz.h"

#include <sys/socket.h>
#include <unistd.h>

#include "ipc/lib/connection.h"

#define SAYS_MAX (128u << 10)

static struct holdfast *connected(int fd)
{
	struct holdfast *h = calloc(1, sizeof(*h));

	claim(h);
	h->fd = fd;
	h->stream = (uint32_t)-1;
	h->timeout_usec = 1; /* what it has to say, it has said */
	return h;
}

static void watch(struct holdfast *h, uint64_t from)
{
	struct holdfast_event e;
	uint64_t last = from, instance = 1;

	if (holdfast_watch(h, 1, from) < 0)
		return;
	while (holdfast_watch_next(h, &e) > 0) {
		claim(e.sequence > last || h->instance != instance);
		instance = h->instance;
		last = e.sequence;
	}
}

static void raw(struct holdfast *h)
{
	const void *data;
	size_t len;

	if (holdfast_stream(h, "Logs", "", 0) < 0)
		return;
	while (holdfast_next(h, &data, &len) > 0)
		touch(data, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tape t = {data, size};
	uint8_t how = tape_byte(&t);
	struct holdfast_state state;
	struct holdfast_exit end;
	struct holdfast *h;
	const uint8_t *says;
	size_t len;
	int pair[2], r = -1;

	says = tape_span(&t, SAYS_MAX, &len);
	claim(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	h = connected(pair[0]);
	if (len)
		claim(send(pair[1], says, len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0);
	shutdown(pair[1], SHUT_WR);
	switch (how % 4) {
	case 0:
		r = holdfast_get_state(h, &state);
		break;
	case 1:
		r = holdfast_wait(h, &end);
		break;
	case 2:
		watch(h, how / 4);
		break;
	default:
		raw(h);
	}
	claim(r == 0 || memchr(holdfast_error(h), '\0', CONNECTION_ERROR_MAX));
	holdfast_close(h);
	close(pair[1]);
	return 0;
}
