#include "ipc/log_tail.h"

#include <errno.h>
#include <string.h>

#include "ipc/base/fault.h"
#include "ipc/base/mem.h"
#include "ipc/logread.h"

struct tail {
	char *bytes;
	size_t size, len;
};

/* Appends; what no longer fits leaves at the front. */
static void add(struct tail *t, const char *p, size_t len)
{
	size_t over;

	if (len > t->size) {
		p += len - t->size;
		len = t->size;
	}
	over = t->len + len > t->size ? t->len + len - t->size : 0;
	memmove(t->bytes, t->bytes + over, t->len - over);
	memcpy(t->bytes + t->len - over, p, len);
	t->len += len - over;
}

int64_t log_tail(int log_dirfd, const uint64_t from[LOG_STREAMS], const uint64_t end[LOG_STREAMS],
	char *ret, size_t size)
{
	auto_free struct logread_piece *piece = malloc(sizeof(*piece));
	struct tail t = {.bytes = ret, .size = size};
	uint64_t at[LOG_STREAMS];
	struct logread reader;
	int r;

	if (!piece)
		return fault(-ENOMEM, "read output");
	logread_init(&reader, log_dirfd);
	for (int i = 0; i < LOG_STREAMS; i++) {
		uint64_t most = end[i] > size ? end[i] - size : 0;

		at[i] = from[i] > most ? from[i] : most;
		reader.s[i].wanted = at[i] < end[i];
	}
	logread_seek(&reader, at);
	while ((r = logread_next(&reader, piece)) > 0) {
		uint64_t left = end[piece->stream] > piece->at ? end[piece->stream] - piece->at : 0;

		add(&t, piece->bytes, piece->len < left ? piece->len : (size_t)left);
		if (piece->len >= left)
			reader.s[piece->stream].wanted = false;
	}
	logread_finish(&reader);
	return r < 0 ? r : (int64_t)t.len;
}
