/* The transport: frames out, frames in. */
#include "ipc/lib/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/fd.h"
#include "ipc/base/mem.h"
#include "ipc/msg.h"
#include "ipc/proto/ttrpc.pb-c.h"
#include "ipc/settings.h"

#define SERVICE	   "holdfast.v1.Supervisor"
#define READ_BYTES (64u << 10)
#define ROOM_SEC   5 /* for a place among the clients: holdfast_timeout() comes later */

int connection_fail(struct holdfast *h, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(h->error, sizeof(h->error), fmt, ap);
	va_end(ap);
	return err;
}

/* Through the directory's descriptor: its path may be longer than sun_path. */
static int reach(struct holdfast *h, const char *dir, const char *id, const char *name)
{
	const struct timeval room = {.tv_sec = ROOM_SEC}, none = {0};
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	auto_fd where = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (where < 0)
		return errno == ENOENT
			       ? connection_fail(h, -ENOENT, "no container \"%s\" (in %s)", id, dir)
			       : connection_fail(h, -errno, "%s: %s", dir, strerror(errno));
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/%s", where, name);
	h->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (h->fd < 0)
		return connection_fail(h, -errno, "socket: %s", strerror(errno));
	setsockopt(h->fd, SOL_SOCKET, SO_SNDTIMEO, &room, sizeof(room));
	if (connect(h->fd, (struct sockaddr *)&a, sizeof(a)) == 0) {
		setsockopt(h->fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof(none));
		return 0;
	}
	if (errno == EAGAIN)
		return connection_fail(h, -EAGAIN,
			"container \"%s\": %s: too many clients are connected, and more wait (end some of them)",
			id, name);
	if (errno == ENOENT || errno == ECONNREFUSED)
		return connection_fail(h, -ECONNREFUSED,
			"container \"%s\": nobody supervises it (it has ended, or needs: holdfast start %s)",
			id, id);
	return connection_fail(h, -errno, "container \"%s\": %s: %s", id, name, strerror(errno));
}

int holdfast_open(const char *root, const char *realm, const char *id, enum holdfast_socket which,
	struct holdfast **ret)
{
	struct holdfast *h = calloc(1, sizeof(*h));
	auto_free char *dir = NULL;

	*ret = h;
	if (!h)
		return -ENOMEM;
	h->fd = -1;
	h->stream = (uint32_t)-1;
	if (!id || !*id || strchr(id, '/') || id[0] == '.')
		return connection_fail(h, -EINVAL,
			"container \"%s\": no such name (use letters, digits, and . _ - between them)",
			id ? id : "");
	if (asprintf(&dir, "%s/%s/%s", root ? root : state_root(), realm ? realm : "local", id) < 0)
		return connection_fail(h, -ENOMEM, "out of memory");
	return reach(h, dir, id, which == HOLDFAST_CONTROL ? "control" : "observe");
}

static void drop_message(struct holdfast *h)
{
	msg_free(h->message);
	h->message = NULL;
}

void holdfast_close(struct holdfast *h)
{
	if (!h)
		return;
	drop_message(h);
	if (h->batch)
		msg_free(h->batch);
	free(h->in);
	fd_close(&h->fd);
	free(h);
}

const char *holdfast_error(const struct holdfast *h)
{
	return h ? h->error : "out of memory";
}

int holdfast_code(const struct holdfast *h)
{
	return h->code;
}

void holdfast_timeout(struct holdfast *h, uint64_t usec)
{
	h->timeout_usec = usec;
}

int holdfast_fd(const struct holdfast *h)
{
	return h->fd;
}

/* Frames --------------------------------------------------------------------------------------- */

static int gone(struct holdfast *h)
{
	return connection_fail(h, -EPIPE, "the supervisor has closed the connection");
}

/* Waits for the descriptor. 0, or a failure. */
static int ready(struct holdfast *h, short events, uint64_t deadline)
{
	struct pollfd p = {.fd = h->fd, .events = events};
	int wait = -1, n;

	do {
		if (deadline) {
			uint64_t now = now_mono();

			wait = now >= deadline ? 0 : (int)((deadline - now) / USEC_PER_MSEC) + 1;
		}
		n = poll(&p, 1, wait);
	} while (n < 0 && errno == EINTR);
	return n > 0 ? 0 : connection_fail(h, -ETIMEDOUT, "no answer in time");
}

static uint64_t deadline_of(const struct holdfast *h)
{
	return h->timeout_usec ? now_mono() + h->timeout_usec : 0;
}

static int send_all(struct holdfast *h, const unsigned char *p, size_t len)
{
	uint64_t deadline = deadline_of(h);

	while (len > 0) {
		ssize_t n = send(h->fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN) {
			int r = ready(h, POLLOUT, deadline);

			if (r < 0)
				return r;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return gone(h);
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Bytes of a whole frame at `at`, 0: not here yet. */
static size_t whole_frame(const struct holdfast *h)
{
	size_t have = h->in_len - h->at, need;

	if (have < TTRPC_HEAD)
		return 0;
	need = TTRPC_HEAD + (size_t)ttrpc_get(h->in + h->at).length;
	return have >= need ? need : 0;
}

bool holdfast_pending(const struct holdfast *h)
{
	return whole_frame(h) > 0 || (h->batch && h->batch_at < h->batch->n_events);
}

static int make_room(struct holdfast *h)
{
	unsigned char *more;

	if (h->at > 0) {
		memmove(h->in, h->in + h->at, h->in_len - h->at);
		h->in_len -= h->at;
		h->at = 0;
	}
	if (h->in_size - h->in_len >= READ_BYTES)
		return 0;
	if (h->in_len > TTRPC_LENGTH_MAX)
		return connection_fail(
			h, -EBADMSG, "a frame of more than %u bytes", TTRPC_LENGTH_MAX);
	more = realloc(h->in, h->in_size + READ_BYTES);
	if (!more)
		return connection_fail(h, -ENOMEM, "out of memory");
	h->in = more;
	h->in_size += READ_BYTES;
	return 0;
}

/* The next frame: its head, and the payload in *payload. */
static int next_frame(struct holdfast *h, struct ttrpc_head *head, const unsigned char **payload)
{
	uint64_t deadline = deadline_of(h);
	size_t len;
	int r;

	while ((len = whole_frame(h)) == 0) {
		ssize_t n;

		r = make_room(h);
		if (r == 0)
			r = ready(h, POLLIN, deadline);
		if (r < 0)
			return r;
		n = recv(h->fd, h->in + h->in_len, h->in_size - h->in_len, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return gone(h);
		h->in_len += n > 0 ? (size_t)n : 0;
	}
	*head = ttrpc_get(h->in + h->at);
	*payload = h->in + h->at + TTRPC_HEAD;
	h->at += len;
	return 0;
}

/* Calls ---------------------------------------------------------------------------------------- */

static int send_request(
	struct holdfast *h, const char *method, uint8_t flags, const void *payload, size_t len)
{
	Holdfast__Ttrpc__Request request;
	auto_free unsigned char *buf = NULL;
	struct ttrpc_head head = {.type = TTRPC_REQUEST, .flags = flags};
	size_t size;

	drop_message(h);
	h->code = 0;
	h->error[0] = '\0';
	holdfast__ttrpc__request__init(&request);
	request.service = (char *)(uintptr_t)SERVICE;
	request.method = (char *)(uintptr_t)method;
	request.payload.data = (void *)(uintptr_t)payload;
	request.payload.len = len;
	size = protobuf_c_message_get_packed_size(&request.base);
	buf = malloc(TTRPC_HEAD + size);
	if (!buf)
		return connection_fail(h, -ENOMEM, "out of memory");
	h->stream += 2;
	head.stream = h->stream;
	head.length = (uint32_t)size;
	ttrpc_put(buf, head);
	protobuf_c_message_pack(&request.base, buf + TTRPC_HEAD);
	return send_all(h, buf, TTRPC_HEAD + size);
}

static int take_response(struct holdfast *h, struct ttrpc_head head, const unsigned char *payload)
{
	Holdfast__Ttrpc__Response *r =
		msg_unpack(&holdfast__ttrpc__response__descriptor, payload, head.length);

	if (!r)
		return connection_fail(h, -EBADMSG, "the answer is no message");
	h->message = r;
	if (!r->status || r->status->code == 0)
		return 0;
	h->code = r->status->code;
	return connection_fail(h, -EREMOTEIO, "%s", r->status->message);
}

int holdfast_call(struct holdfast *h, const char *method, const void *request, size_t request_len,
	const void **ret, size_t *len)
{
	const Holdfast__Ttrpc__Response *response;
	const unsigned char *payload;
	struct ttrpc_head head;
	int r = send_request(h, method, 0, request, request_len);

	while (r == 0) {
		r = next_frame(h, &head, &payload);
		if (r == 0 && head.stream == h->stream && head.type == TTRPC_RESPONSE)
			break;
	}
	if (r == 0)
		r = take_response(h, head, payload);
	if (r < 0)
		return r;
	response = h->message;
	*ret = response->payload.data;
	*len = response->payload.len;
	return 0;
}

int holdfast_stream(struct holdfast *h, const char *method, const void *request, size_t request_len)
{
	return send_request(h, method, TTRPC_REMOTE_CLOSED, request, request_len);
}

int holdfast_next(struct holdfast *h, const void **ret, size_t *len)
{
	const unsigned char *payload;
	struct ttrpc_head head;
	int r;

	for (;;) {
		r = next_frame(h, &head, &payload);
		if (r < 0)
			return r;
		if (head.stream != h->stream)
			continue; /* of a call that was given up */
		if (head.type == TTRPC_RESPONSE)
			return take_response(h, head, payload);
		if (head.type != TTRPC_DATA)
			continue;
		if (head.flags & TTRPC_NO_DATA)
			return 0;
		*ret = payload;
		*len = head.length;
		return 1;
	}
}

int connection_call(struct holdfast *h, const char *method, const ProtobufCMessage *request,
	const ProtobufCMessageDescriptor *answer, void **ret)
{
	unsigned char buf[512]; /* what is called from here is small */
	const void *data;
	size_t n = msg_pack(request, buf, sizeof(buf)), len;
	int r = holdfast_call(h, method, buf, n, &data, &len);

	if (r < 0)
		return r;
	*ret = msg_unpack(answer, data, len);
	return *ret ? 0 : connection_fail(h, -EBADMSG, "%s: the answer is no message", method);
}

int connection_simple(struct holdfast *h, const char *method, const ProtobufCMessage *request,
	const ProtobufCMessageDescriptor *answer)
{
	void *m;
	int r = connection_call(h, method, request, answer, &m);

	if (r == 0)
		msg_free(m);
	return r;
}
