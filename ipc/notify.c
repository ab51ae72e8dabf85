#include "ipc/notify.h"

#include <stdio.h>
#include <string.h>

static bool is(const char *line, size_t len, const char *want)
{
	return strlen(want) == len && memcmp(line, want, len) == 0;
}

/* A name must fit into a list that colons separate. */
static void take_name(const char *value, size_t len, struct notify_msg *ret)
{
	if (len == 0 || len > PLAN_NAME_MAX)
		return;
	for (size_t i = 0; i < len; i++)
		if (value[i] < ' ' || value[i] > '~' || value[i] == ':')
			return;
	memcpy(ret->fdname, value, len);
	ret->fdname[len] = '\0';
	ret->named = true;
}

static void take_line(const char *line, size_t len, struct notify_msg *ret)
{
	static const char name[] = "FDNAME=";
	const size_t n = sizeof(name) - 1;

	ret->ready |= is(line, len, "READY=1");
	ret->store |= is(line, len, "FDSTORE=1");
	ret->unstore |= is(line, len, "FDSTOREREMOVE=1");
	if (len > n && memcmp(line, name, n) == 0)
		take_name(line + n, len - n, ret);
}

void notify_parse(const char *text, size_t len, struct notify_msg *ret)
{
	const char *end = text + len;

	memset(ret, 0, sizeof(*ret));
	snprintf(ret->fdname, sizeof(ret->fdname), "%s", NOTIFY_NAME_DEFAULT);
	while (text < end) {
		const char *stop = memchr(text, '\n', (size_t)(end - text));

		stop = stop ? stop : end;
		take_line(text, (size_t)(stop - text), ret);
		text = stop + 1;
	}
}
