#include "ipc/notify.h"

#include <stdio.h>
#include <string.h>

#include "ipc/base/mem.h"

#define DIGITS_MAX 19u /* below 2^64, whatever they are */

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

/* Shown to people on a terminal: what could steer one becomes a question mark. A character that the
 * bound would cut in two is left out. */
static void take_status(const char *value, size_t len, struct notify_msg *ret)
{
	if (len > NOTIFY_STATUS_MAX)
		for (len = NOTIFY_STATUS_MAX; len > 0 && (value[len] & 0xc0) == 0x80;)
			len--;
	for (size_t i = 0; i < len; i++)
		ret->status[i] = (unsigned char)value[i] < ' ' || value[i] == 0x7f ? '?' : value[i];
	ret->status[len] = '\0';
	ret->told = true;
}

static void take_number(const char *value, size_t len, struct notify_number *ret)
{
	uint64_t n = 0;

	if (len == 0 || len > DIGITS_MAX)
		return;
	for (size_t i = 0; i < len; i++) {
		if (value[i] < '0' || value[i] > '9')
			return;
		n = n * 10 + (uint64_t)(value[i] - '0');
	}
	*ret = (struct notify_number){.given = true, .value = n};
}

static void take_watchdog(const char *value, size_t len, struct notify_msg *ret)
{
	ret->alive |= len == 1 && value[0] == '1';
	ret->trigger |= len == 7 && memcmp(value, "trigger", 7) == 0;
}

static void take_pid(const char *value, size_t len, struct notify_msg *ret)
{
	ret->main_pid = true;
}

#define AT(member) offsetof(struct notify_msg, member)

/* A line is NAME=VALUE: 1 sets a flag, others are a number or have a reader of their own. */
static const struct {
	const char *name;
	void (*read)(const char *value, size_t len, struct notify_msg *ret);
	size_t flag, number;
} lines[] = {
	{"READY=", NULL, AT(ready), 0},
	{"RELOADING=", NULL, AT(reloading), 0},
	{"STOPPING=", NULL, AT(stopping), 0},
	{"FDSTORE=", NULL, AT(store), 0},
	{"FDSTOREREMOVE=", NULL, AT(unstore), 0},
	{"FDNAME=", take_name, 0, 0},
	{"STATUS=", take_status, 0, 0},
	{"WATCHDOG=", take_watchdog, 0, 0},
	{"MAINPID=", take_pid, 0, 0},
	{"WATCHDOG_USEC=", NULL, 0, AT(watchdog_usec)},
	{"EXTEND_TIMEOUT_USEC=", NULL, 0, AT(extend_usec)},
	{"ERRNO=", NULL, 0, AT(errnum)},
	{"EXIT_STATUS=", NULL, 0, AT(exit_status)},
};

static void take_line(const char *line, size_t len, struct notify_msg *ret)
{
	for (size_t i = 0; i < array_size(lines); i++) {
		size_t n = strlen(lines[i].name);
		const char *value = line + n;

		if (len < n || memcmp(line, lines[i].name, n) != 0)
			continue;
		if (lines[i].read)
			lines[i].read(value, len - n, ret);
		else if (lines[i].number)
			take_number(value, len - n, (void *)((char *)ret + lines[i].number));
		else if (len == n + 1 && *value == '1')
			*(bool *)((char *)ret + lines[i].flag) = true;
		return;
	}
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
