/* A service's bytes for a terminal: what it would act on is made visible, one byte after the other.
 * Line ends, tabs and text in UTF-8 stay; C0 and C1 control characters (also the latter's two-byte
 * form in UTF-8) and a carriage return that could overwrite its line do not. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define VISIBLE_MAX 24 /* bytes that one call writes at most */

struct visible {
	unsigned char seq[4]; /* a character that is not whole yet */
	size_t len, need;
	bool cr; /* a carriage return is held back: a line end may follow */
};

/* What is to be shown once c has come; returns its length, maybe 0. */
size_t visible_put(struct visible *v, char c, char out[VISIBLE_MAX]);

/* What is still held back, at the end. */
size_t visible_flush(struct visible *v, char out[VISIBLE_MAX]);
