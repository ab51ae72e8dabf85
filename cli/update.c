/* holdfast update: limits, restart policy and rules of running containers. What can't be is said
 * before anybody is asked; the rest is the supervisor's to judge. */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "cli/change.h"
#include "cli/command.h"
#include "ipc/base/fault.h"
#include "ipc/base/mem.h"
#include "ipc/base/parse.h"
#include "monitor/rule_text.h"

#define MEMORY_MIN	(1u << 20)
#define REFUSED_INVALID 3 /* google.rpc.Code */

struct wish {
	struct holdfast_update u;
	struct rules read; /* as they are understood here */
	char *rules[RULES_MAX], *presets[RULES_MAX];
	bool no_rules;
};

#define AT(field) offsetof(struct wish, u.field)

static struct holdfast_limit *limit(void *ctx, const struct option *o)
{
	struct holdfast_limit *l = (void *)((char *)ctx + o->at);

	l->given = true;
	l->none = false;
	return l;
}

static bool none(struct holdfast_limit *l, const char *value)
{
	l->none = strcmp(value, "none") == 0;
	return l->none;
}

static int set_memory(void *ctx, const struct option *o, const char *value)
{
	struct holdfast_limit *l = limit(ctx, o);
	int r = none(l, value) ? 0 : parse_size(option_shown(o), value, &l->value);

	if (r == 0 && !l->none && l->value < MEMORY_MIN)
		return option_bad(o, value, "nothing can run in less than 1m (or use none)");
	return r;
}

static int set_cpus(void *ctx, const struct option *o, const char *value)
{
	struct holdfast_limit *l = limit(ctx, o);

	return none(l, value) ? 0 : parse_cpus(option_shown(o), value, &l->value);
}

static int set_weight(void *ctx, const struct option *o, const char *value)
{
	return parse_u64(option_shown(o), value, 1, 10000, &limit(ctx, o)->value);
}

/* As with `run`: 0 is no limit. */
static int set_pids(void *ctx, const struct option *o, const char *value)
{
	struct holdfast_limit *l = limit(ctx, o);
	int r = none(l, value) ? 0 : parse_u64(option_shown(o), value, 0, 4194304, &l->value);

	l->none = l->none || (r == 0 && l->value == 0);
	return r;
}

static int set_delay(void *ctx, const struct option *o, const char *value)
{
	return parse_duration(option_shown(o), value, &limit(ctx, o)->value);
}

static int set_cpuset(void *ctx, const struct option *o, const char *value)
{
	if (!value[0] || strspn(value, "0123456789,-") != strlen(value))
		return option_bad(o, value, "not a list of CPUs (use 0-3,8)");
	return option_text(ctx, o, value);
}

static int set_restart(void *ctx, const struct option *o, const char *value)
{
	static const char *const words[] = {"no", "on-failure", "always", "unless-stopped"};

	for (size_t i = 0; i < array_size(words); i++)
		if (strcmp(value, words[i]) == 0)
			return option_text(ctx, o, value);
	return option_bad(o, value, "use no, on-failure, always or unless-stopped");
}

/* A word on the command line, which nobody writes to. */
static char *word_of(const char *value)
{
	return (char *)(uintptr_t)value;
}

static int set_rule(void *ctx, const struct option *o, const char *value)
{
	struct wish *w = ctx;
	struct rule one;
	int r;

	w->u.rules_given = true;
	if (strcmp(value, "none") == 0) {
		w->no_rules = true;
		return 0;
	}
	r = rule_parse(option_shown(o), value, &one);
	if (r == 0)
		r = rules_add(option_shown(o), &w->read, &one);
	if (r == 0)
		w->rules[w->u.rules_len++] = word_of(value);
	return r;
}

static int set_preset(void *ctx, const struct option *o, const char *value)
{
	struct wish *w = ctx;
	int r = rules_preset(option_shown(o), value, &w->read);

	w->u.rules_given = true;
	if (r == 0)
		w->presets[w->u.presets_len++] = word_of(value);
	return r;
}

static const struct option rows[] = {
	{"memory", 'm', "SIZE", "memory limit: 512M, 2G, none", set_memory, AT(memory_bytes)},
	{"memory-high", 0, "SIZE", "slow down above this (cgroup v2), none", set_memory,
		AT(memory_high_bytes)},
	{"memory-swap", 0, "SIZE", "memory and swap together, none", set_memory,
		AT(memory_swap_bytes)},
	{"cpus", 0, "NUMBER", "CPU limit: 0.5, 2, none", set_cpus, AT(cpu_milli)},
	{"cpu-weight", 0, "N", "share of CPU, 1 to 10000 (100)", set_weight, AT(cpu_weight)},
	{"pids-limit", 0, "N", "most processes (0: no limit)", set_pids, AT(pids)},
	{"cpuset-cpus", 0, "LIST", "CPUs to run on: 0-3,8", set_cpuset, AT(cpuset_cpus)},
	{"restart", 0, "POLICY", "no, on-failure, always, unless-stopped", set_restart,
		AT(restart)},
	{"restart-delay", 0, "TIME", "before the second restart in a row", set_delay,
		AT(restart_delay_usec)},
	{"restart-max-delay", 0, "TIME", "largest delay", set_delay, AT(restart_max_delay_usec)},
	{"rule", 0, "RULE",
		"in the place of all there are: \"leak: memory.usage > 90%: restart\", none",
		set_rule, 0},
	{"preset", 0, "NAME", "the same, a set of rules: web, database, batch", set_preset, 0},
};

static const struct option_table table = {
	.usage = "holdfast update [options] ID...",
	.about =
		"Changes limits, restart policy and rules of running containers: all that is given, or\n"
		"nothing. It stays so for every further start.",
	.rows = rows,
	.len = array_size(rows),
	.mixed = true,
};

static int update_one(struct holdfast *h, const void *ctx)
{
	const struct wish *w = ctx;
	int r = holdfast_update(h, &w->u);

	if (r == HOLDFAST_WARNED)
		complain("warning: %s", holdfast_error(h));
	if (r == -EREMOTEIO && w->u.rules_given && holdfast_code(h) == REFUSED_INVALID)
		return -EINVAL; /* as `run` would have refused it */
	return r;
}

static int check(const struct wish *w)
{
	static const struct holdfast_update nothing;

	if (memcmp(&w->u, &nothing, sizeof(nothing)) == 0)
		return fault_plain(-EINVAL,
			"update: nothing to change (holdfast update --help lists what can be)");
	if (w->no_rules && w->read.len)
		return fault_plain(-EINVAL,
			"--rule none: together with other rules (leave one or the other out)");
	return 0;
}

int command_update(int argc, char **argv)
{
	static struct wish w; /* 8 KiB of rules */
	int first, r = change_parse(&table, &w, argc, argv, &first);

	if (r == OPTIONS_HELP)
		return CLI_OK;
	if (r == 0)
		r = check(&w);
	if (r < 0) {
		complain("%s", fault_text());
		return CLI_USAGE;
	}
	w.u.rules = w.rules;
	w.u.presets = w.presets;
	return change_each(&argv[first], argc - first, update_one, &w);
}
