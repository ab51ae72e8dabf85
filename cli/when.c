#include "cli/when.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/parse.h"

#define DIGITS 6 /* of a second's fraction */

static int refuse(const char *name, const char *text)
{
	return fault_plain(-EINVAL,
		"%s \"%.100s\": not a time (use 10m, 2026-01-31T12:30:05Z, or @1700000000)", name,
		text);
}

/* ".25" -> 250000, and *p behind it; nothing there is 0. */
static bool fraction(const char **p, uint64_t *ret)
{
	int n = 0;

	*ret = 0;
	if (**p != '.')
		return true;
	for ((*p)++; isdigit((unsigned char)**p); (*p)++, n++)
		if (n < DIGITS)
			*ret = *ret * 10 + (uint64_t)(**p - '0');
	for (int i = n; i < DIGITS; i++)
		*ret *= 10;
	return n > 0;
}

static int since_1970(const char *name, const char *text, uint64_t *ret)
{
	const char *p = text + 1;
	uint64_t usec;
	char *end;

	errno = 0;
	*ret = strtoull(p, &end, 10) * USEC_PER_SEC;
	if (!isdigit((unsigned char)*p) || errno || end - p > 11)
		return refuse(name, text);
	p = end;
	if (!fraction(&p, &usec) || *p)
		return refuse(name, text);
	*ret += usec;
	return 0;
}

/* "Z", "+01:00", or nothing: local time. */
static bool zone(const char *p, struct tm *tm, time_t *ret)
{
	unsigned hours, minutes;
	int used = 0;

	if (!*p) {
		tm->tm_isdst = -1;
		*ret = mktime(tm);
		return *ret >= 0;
	}
	*ret = timegm(tm);
	if (strcmp(p, "Z") == 0 || strcmp(p, "z") == 0)
		return *ret >= 0;
	if ((*p != '+' && *p != '-') || !isdigit((unsigned char)p[1]) ||
		sscanf(p + 1, "%2u:%2u%n", &hours, &minutes, &used) != 2 || p[1 + used] ||
		hours > 23 || minutes > 59)
		return false;
	*ret -= (*p == '-' ? -1 : 1) * (time_t)(hours * 3600 + minutes * 60);
	return *ret >= 0;
}

static int date(const char *name, const char *text, uint64_t *ret)
{
	static const char *const formats[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S",
		"%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d"};
	uint64_t usec;
	time_t seconds;

	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		struct tm tm = {0};
		const char *p = strptime(text, formats[i], &tm);

		if (!p || !fraction(&p, &usec) || !zone(p, &tm, &seconds))
			continue;
		*ret = (uint64_t)seconds * USEC_PER_SEC + usec;
		return 0;
	}
	return refuse(name, text);
}

int when_parse(const char *name, const char *text, uint64_t *ret)
{
	size_t len = strlen(text);
	uint64_t ago, now = now_real();

	if (text[0] == '@')
		return since_1970(name, text, ret);
	if (len > 4 && text[4] == '-')
		return date(name, text, ret);
	if (len == 0 || !isalpha((unsigned char)text[len - 1]) ||
		parse_duration(name, text, &ago) < 0)
		return refuse(name, text);
	*ret = ago < now ? now - ago : 0;
	return 0;
}

void when_text(char ret[WHEN_TEXT], uint64_t real_usec)
{
	time_t seconds = (time_t)(real_usec / USEC_PER_SEC);
	struct tm tm;
	size_t n;

	gmtime_r(&seconds, &tm);
	n = strftime(ret, WHEN_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(ret + n, WHEN_TEXT - n, ".%06uZ", (unsigned)(real_usec % USEC_PER_SEC));
}
