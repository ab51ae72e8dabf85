/* What every fuzz target shares: the input as a tape of bytes, taken off piece by piece, and claims
 * that hold for whatever comes. A target is LLVMFuzzerTestOneInput; a claim that fails ends it. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define claim(what)                                                                               \
	do {                                                                                      \
		if (!(what)) {                                                                    \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #what); \
			abort();                                                                  \
		}                                                                                 \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

struct tape {
	const uint8_t *at;
	size_t left;
};

/* What the tape does not have is zeros. */
static inline void tape_into(struct tape *t, void *buf, size_t size)
{
	size_t n = size < t->left ? size : t->left;

	memset(buf, 0, size);
	if (n)
		memcpy(buf, t->at, n);
	t->at += n;
	t->left -= n;
}

static inline uint8_t tape_byte(struct tape *t)
{
	uint8_t b;

	tape_into(t, &b, 1);
	return b;
}

static inline uint32_t tape_u32(struct tape *t)
{
	uint32_t v;

	tape_into(t, &v, sizeof(v));
	return v;
}

static inline uint64_t tape_u64(struct tape *t)
{
	uint64_t v;

	tape_into(t, &v, sizeof(v));
	return v;
}

/* At most max bytes, in place. */
static inline const uint8_t *tape_span(struct tape *t, size_t max, size_t *len)
{
	const uint8_t *p = t->at;

	*len = max < t->left ? max : t->left;
	t->at += *len;
	t->left -= *len;
	return p;
}

/* Reads every byte of it. */
static inline void touch(const void *p, size_t n)
{
	const volatile uint8_t *bytes = p;

	while (n--)
		(void)*bytes++;
}
