#include "cli/cpulist.h"

#include <errno.h>
#include <string.h>

/* Digits, at least one, below CPULIST_MAX; NULL for anything else. */
static const char *number(const char *s, unsigned *ret)
{
	if (*s < '0' || *s > '9')
		return NULL;
	for (*ret = 0; *s >= '0' && *s <= '9'; s++) {
		*ret = *ret * 10 + (unsigned)(*s - '0');
		if (*ret >= CPULIST_MAX)
			return NULL;
	}
	return s;
}

int cpulist_parse(const char *text, struct cpulist *ret)
{
	const char *s = text;
	unsigned first, last;

	memset(ret, 0, sizeof(*ret));
	for (;; s++) {
		s = number(s, &first);
		last = first;
		if (s && *s == '-')
			s = number(s + 1, &last);
		if (!s || last < first)
			return -EINVAL;
		for (unsigned i = first; i <= last; i++)
			ret->bits[i / 64] |= 1ULL << i % 64;
		if (*s == '\0')
			return 0;
		if (*s != ',')
			return -EINVAL;
	}
}

int cpulist_missing(const struct cpulist *want, const struct cpulist *have)
{
	for (int i = 0; i < CPULIST_MAX; i++)
		if (want->bits[i / 64] & ~have->bits[i / 64] & 1ULL << i % 64)
			return i;
	return -1;
}
