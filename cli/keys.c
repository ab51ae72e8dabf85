#include "cli/keys.h"

#include <errno.h>
#include <string.h>

#define CTRL "ctrl-"

static int key_parse(const char *text, size_t len, unsigned char *ret)
{
	char c;

	if (len == 1) {
		*ret = (unsigned char)text[0];
		return 0;
	}
	if (len != strlen(CTRL) + 1 || strncmp(text, CTRL, strlen(CTRL)) != 0)
		return -EINVAL;
	c = text[len - 1];
	if (c >= 'a' && c <= 'z')
		c = (char)(c - 'a' + 'A');
	if ((c < 'A' || c > 'Z') && !strchr("@[\\]^_", c))
		return -EINVAL;
	*ret = (unsigned char)(c & 0x1f);
	return 0;
}

int keys_parse(struct keys *k, const char *text)
{
	*k = (struct keys){.len = 0};
	while (*text) {
		size_t n = strcspn(text, ",");

		if (k->len == KEYS_MAX || key_parse(text, n, &k->seq[k->len++]) < 0)
			return -EINVAL;
		text += n;
		if (*text && !*++text) /* a comma at the end */
			return -EINVAL;
	}
	return 0;
}

/* The bytes held back and c: how many of the newest are a beginning of the sequence. */
static size_t longest(const struct keys *k, unsigned char c)
{
	unsigned char held[KEYS_MAX];
	size_t n = k->matched + 1, keep = n;

	memcpy(held, k->seq, k->matched);
	held[k->matched] = c;
	while (keep > 0 && memcmp(held + n - keep, k->seq, keep) != 0)
		keep--;
	return keep;
}

size_t keys_filter(struct keys *k, const char *in, size_t len, char *out, bool *detach)
{
	size_t n = 0;

	*detach = false;
	for (size_t i = 0; i < len && !*detach; i++) {
		unsigned char c = (unsigned char)in[i];
		size_t held = k->matched, keep = k->len ? longest(k, c) : 0;

		/* what falls out in front is the service's: of the held bytes first, c if it is the
		 * last */
		for (size_t j = 0; j < held + 1 - keep; j++)
			out[n++] = j < held ? (char)k->seq[j] : (char)c;
		k->matched = keep;
		*detach = k->len && keep == k->len;
	}
	return n;
}
