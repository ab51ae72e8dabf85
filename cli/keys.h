/* The keys that take a client off a container's terminal and leave the container running. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define KEYS_MAX     16
#define KEYS_DEFAULT "ctrl-p,ctrl-q"

struct keys {
	unsigned char seq[KEYS_MAX];
	size_t len;	/* 0: there are none */
	size_t matched; /* how many of them were the newest bytes */
};

/* "ctrl-p,ctrl-q", "a,b", "": single characters, and ctrl- with a letter or one of @[\]^_. 0, or
 * -EINVAL without a fault text. */
int keys_parse(struct keys *k, const char *text);

/* Takes len bytes typed; what is for the service goes to out (at least len + KEYS_MAX bytes): bytes
 * that may begin the sequence are held back until it is clear that they do not. *detach: the
 * sequence was typed, what followed is dropped. Returns the length of out. */
size_t keys_filter(struct keys *k, const char *in, size_t len, char *out, bool *detach);
