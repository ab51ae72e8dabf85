#include "shim/launch/blob.h"

#include <stdlib.h>
#include <string.h>

static void blob_grow(struct blob *b, size_t more)
{
	size_t cap = b->cap ? b->cap : 16384;

	while (cap < b->len + more)
		cap *= 2;
	if (cap == b->cap)
		return;
	b->data = realloc(b->data, cap);
	if (!b->data)
		abort(); /* the parent reports the signal */
	b->cap = cap;
}

static char *blob_room(struct blob *b, size_t len)
{
	char *at;

	blob_grow(b, len);
	at = b->data + b->len;
	memset(at, 0, len);
	b->len += len;
	return at;
}

void blob_init(struct blob *b, size_t head)
{
	*b = (struct blob){0};
	blob_room(b, head);
}

void blob_finish(struct blob *b)
{
	free(b->data);
	*b = (struct blob){0};
}

struct plan_range blob_add(struct blob *b, const void *data, size_t len, size_t count)
{
	struct plan_range r = {.len = (uint32_t)len, .count = (uint32_t)count};

	blob_room(b, (8 - b->len % 8) % 8);
	r.off = (uint32_t)b->len;
	if (len)
		memcpy(blob_room(b, len), data, len);
	return r;
}

struct plan_range blob_string(struct blob *b, const char *s)
{
	return blob_add(b, s, strlen(s) + 1, 1);
}

void blob_more(struct blob *b, struct plan_range *list, const char *s)
{
	size_t len = strlen(s) + 1;

	if (list->count == 0)
		*list = blob_add(b, NULL, 0, 0);
	memcpy(blob_room(b, len), s, len);
	list->len += (uint32_t)len;
	list->count++;
}
