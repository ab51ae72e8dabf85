/* A flat memory block under construction: a head, then ranges appended to it. Lives in the reader's
 * process only, which is short-lived: running out of memory ends it. */
#pragma once

#include <stddef.h>

#include "ipc/plan.h"

struct blob {
	char *data;
	size_t len, cap;
};

void blob_init(struct blob *b, size_t head); /* head bytes of zeros come first */
void blob_finish(struct blob *b);

/* Copies len bytes that hold count elements behind what is there, 8-byte aligned. */
struct plan_range blob_add(struct blob *b, const void *data, size_t len, size_t count);
struct plan_range blob_string(struct blob *b, const char *s); /* one string with its NUL */

/* A list of strings that grows at the blob's end: nothing else may be added meanwhile. */
void blob_more(struct blob *b, struct plan_range *list, const char *s);
