#include "cli/options.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "cli/keys.h"
#include "ipc/base/fault.h"
#include "ipc/base/parse.h"
#include "ipc/base/sig.h"

#define FIELD(type, ctx, o) ((type *)(void *)((char *)(ctx) + (o)->at))

const char *option_shown(const struct option *o)
{
	static char shown[48];

	snprintf(shown, sizeof(shown), "--%s", o->name);
	return shown;
}

int option_bad(const struct option *o, const char *value, const char *what)
{
	return fault_plain(-EINVAL, "--%s \"%.200s\": %s", o->name, value, what);
}

int options_excess(const char *command, const char *operand)
{
	return fault_plain(-EINVAL, "%s: \"%.100s\": takes no names", command, operand);
}

int option_flag(void *ctx, const struct option *o, const char *value)
{
	*FIELD(bool, ctx, o) = true;
	return 0;
}

int option_text(void *ctx, const struct option *o, const char *value)
{
	*FIELD(const char *, ctx, o) = value;
	return 0;
}

int option_duration(void *ctx, const struct option *o, const char *value)
{
	return parse_duration(option_shown(o), value, FIELD(uint64_t, ctx, o));
}

int option_size(void *ctx, const struct option *o, const char *value)
{
	return parse_size(option_shown(o), value, FIELD(uint64_t, ctx, o));
}

int option_cpus(void *ctx, const struct option *o, const char *value)
{
	return parse_cpus(option_shown(o), value, FIELD(uint64_t, ctx, o));
}

int option_signal(void *ctx, const struct option *o, const char *value)
{
	int signo = sig_parse(value);

	if (signo < 0)
		return option_bad(
			o, value, "not a signal (use a name or number: TERM, SIGUSR1, 15)");
	*FIELD(uint32_t, ctx, o) = (uint32_t)signo;
	return 0;
}

int option_keys(void *ctx, const struct option *o, const char *value)
{
	struct keys keys;

	if (keys_parse(&keys, value) < 0)
		return option_bad(o, value,
			"use characters and ctrl-X, joined by commas: ctrl-p,ctrl-q (empty: none)");
	return option_text(ctx, o, value);
}

static bool list_only;

void options_list_only(void)
{
	list_only = true;
}

static void list_print(const struct option_table *t)
{
	for (size_t i = 0; i < t->len; i++)
		printf("--%s\t%s\t%s\n", t->rows[i].name, t->rows[i].arg ? t->rows[i].arg : "",
			t->rows[i].help);
	printf("--help\t\tshow this\n");
	if (strstr(t->usage, "ID"))
		printf("ID\t\t\n");
}

static void help_print(const struct option_table *t)
{
	printf("Usage: %s\n%s\n", t->usage, t->about);
	if (t->len)
		printf("\nOptions:\n");
	for (size_t i = 0; i < t->len; i++) {
		const struct option *o = &t->rows[i];
		char left[64];

		snprintf(left, sizeof(left), "%c%c%s --%s%s%s", o->letter ? '-' : ' ',
			o->letter ? o->letter : ' ', o->letter ? "," : " ", o->name,
			o->arg ? " " : "", o->arg ? o->arg : "");
		printf("  %-34s %s\n", left, o->help);
	}
}

static const struct option *find_long(const struct option_table *t, const char *name, size_t len)
{
	for (size_t i = 0; i < t->len; i++)
		if (strlen(t->rows[i].name) == len && strncmp(t->rows[i].name, name, len) == 0)
			return &t->rows[i];
	return NULL;
}

static const struct option *find_short(const struct option_table *t, char letter)
{
	for (size_t i = 0; i < t->len; i++)
		if (letter && t->rows[i].letter == letter)
			return &t->rows[i];
	return NULL;
}

struct cursor {
	int at, argc;
	char **argv;
};

static int apply(void *ctx, const struct option *o, struct cursor *c, const char *value)
{
	if (!o->arg && value)
		return option_bad(o, value, "takes no value (leave it out)");
	if (o->arg && !value) {
		if (c->at >= c->argc)
			return fault_plain(
				-EINVAL, "--%s: needs a value (--%s %s)", o->name, o->name, o->arg);
		value = c->argv[c->at++];
	}
	return o->set(ctx, o, value);
}

static int take_long(const struct option_table *t, void *ctx, struct cursor *c, const char *text)
{
	size_t len = strcspn(text, "=");
	const struct option *o = find_long(t, text, len);

	if (!o)
		return fault_plain(-EINVAL, "--%.*s: no such option (--help lists them)",
			(int)(len < 100 ? len : 100), text);
	return apply(ctx, o, c, text[len] ? text + len + 1 : NULL);
}

/* A cluster: flags one after the other, the last one may have a value behind it: -it, -m512M. */
static int take_short(const struct option_table *t, void *ctx, struct cursor *c, const char *text)
{
	int r = 0;

	while (r == 0 && *text) {
		const struct option *o = find_short(t, *text);

		if (!o)
			return fault_plain(
				-EINVAL, "-%c: no such option (--help lists them)", *text);
		text++;
		if (o->arg)
			return apply(ctx, o, c, *text ? text + (*text == '=') : NULL);
		if (*text == '=')
			return option_bad(o, text + 1, "takes no value (leave it out)");
		r = apply(ctx, o, c, NULL);
	}
	return r;
}

/* Moves the operand at c->at - 1 behind those found before (mixed tables). */
static void keep_operand(char **argv, int *kept, int from)
{
	argv[(*kept)++] = argv[from];
}

int options_parse(const struct option_table *t, void *ctx, int argc, char **argv, int *first)
{
	struct cursor c = {.at = 1, .argc = argc, .argv = argv};
	int kept = 1, r = 0;

	if (list_only) {
		list_print(t);
		return OPTIONS_HELP;
	}
	while (r == 0 && c.at < argc) {
		char *text = argv[c.at];

		if (strcmp(text, "--help") == 0) {
			help_print(t);
			return OPTIONS_HELP;
		}
		if (text[0] != '-' || text[1] == '\0') {
			if (!t->mixed)
				break;
			keep_operand(argv, &kept, c.at++);
			continue;
		}
		c.at++;
		if (strcmp(text, "--") == 0)
			break;
		r = text[1] == '-' ? take_long(t, ctx, &c, text + 2)
				   : take_short(t, ctx, &c, text + 1);
	}
	if (r < 0)
		return r;
	/* operands found on the way are joined with the rest, in order, at the end of argv */
	*first = c.at - (kept - 1);
	memmove(&argv[*first], &argv[1], sizeof(*argv) * (size_t)(kept - 1));
	return OPTIONS_OK;
}
