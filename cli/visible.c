#include "cli/visible.h"

#include <stdio.h>
#include <string.h>

/* Outside UTF-8: 0x80-0x9f are control codes to an 8-bit terminal, the rest is a letter to it. */
static size_t put_stray(unsigned char c, char *out)
{
	if (c < 0xa0)
		return (size_t)snprintf(out, 5, "\\x%02x", c);
	*out = (char)c;
	return 1;
}

static size_t put_strays(struct visible *v, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < v->len; i++)
		n += put_stray(v->seq[i], out + n);
	v->len = v->need = 0;
	return n;
}

/* How many bytes a character that begins with c has; 0: none does. */
static size_t char_len(unsigned char c)
{
	if (c >= 0xc2 && c <= 0xdf)
		return 2;
	if (c >= 0xe0 && c <= 0xef)
		return 3;
	return c >= 0xf0 && c <= 0xf4 ? 4 : 0;
}

/* Overlong forms, surrogates and what is beyond U+10FFFF show in the second byte (RFC 3629). */
static bool continues(const struct visible *v, unsigned char c)
{
	unsigned char low = 0x80, high = 0xbf;

	if (v->len == 1) {
		low = v->seq[0] == 0xe0 ? 0xa0 : v->seq[0] == 0xf0 ? 0x90 : low;
		high = v->seq[0] == 0xed ? 0x9f : v->seq[0] == 0xf4 ? 0x8f : high;
	}
	return c >= low && c <= high;
}

static size_t put_char(struct visible *v, char *out)
{
	size_t n = v->len;

	if (n == 2 && v->seq[0] == 0xc2 && v->seq[1] < 0xa0)
		n = (size_t)snprintf(out, 9, "\\xc2\\x%02x", v->seq[1]);
	else
		memcpy(out, v->seq, n);
	v->len = v->need = 0;
	return n;
}

static size_t put_new(struct visible *v, unsigned char c, char *out)
{
	if (c == '\r') {
		v->cr = true;
		return 0;
	}
	if (c >= 0x80) {
		v->need = char_len(c);
		v->seq[0] = c;
		v->len = 1;
		return v->need ? 0 : put_strays(v, out);
	}
	if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
		return (size_t)snprintf(out, 3, "^%c", c ^ 0x40);
	*out = (char)c;
	return 1;
}

static size_t put_cr(struct visible *v, bool line_end, char *out)
{
	v->cr = false;
	memcpy(out, line_end ? "\r" : "^M", 2);
	return line_end ? 1 : 2;
}

size_t visible_put(struct visible *v, char c, char out[VISIBLE_MAX])
{
	unsigned char u = (unsigned char)c;
	size_t n = v->cr ? put_cr(v, c == '\n', out) : 0;

	if (v->need && continues(v, u)) {
		v->seq[v->len++] = u;
		return v->len == v->need ? put_char(v, out) : 0;
	}
	n += put_strays(v, out + n);
	return n + put_new(v, u, out + n);
}

size_t visible_flush(struct visible *v, char out[VISIBLE_MAX])
{
	size_t n = v->cr ? put_cr(v, false, out) : 0;

	return n + put_strays(v, out + n);
}
