#include "cli/opt_rules.h"

#include <stdio.h>

#include "cli/run_options.h"
#include "monitor/probe.h"
#include "monitor/rule_text.h"

int opt_rule(void *ctx, const struct option *o, const char *value)
{
	struct run *run = ctx;
	struct rule one;
	int r = rule_parse(option_shown(o), value, &one);

	return r < 0 ? r : rules_add(option_shown(o), &run->rules, &one);
}

int opt_preset(void *ctx, const struct option *o, const char *value)
{
	struct run *run = ctx;
	unsigned before = run->rules.len;
	int r = rules_preset(option_shown(o), value, &run->rules);

	for (unsigned i = before; i < run->rules.len; i++)
		run->rules_of_set |= 1u << i;
	return r;
}

/* Only what the command line says is known of its limits: a bundle has its own. */
static struct rule_place place_of(const struct run *run, const struct cghier *h)
{
	const struct spec *spec = &run->spec;

	return (struct rule_place){
		.hier = h,
		.limits_known = !spec->bundle,
		.memory = spec->memory,
		.pids = !spec->pids_set || spec->pids,
		.cpus = spec->cpus,
		.watchdog = run->notify || run->health.watchdog_usec,
		.probes = probes_judging(&run->health),
		.stop_grace_usec = run->settings.stop_grace_usec,
	};
}

int opt_rules_check(struct run *run, const struct cghier *h)
{
	const struct rule_place place = place_of(run, h);

	return rules_check(&run->rules, run->rules_of_set, &place, run->rules_left_out,
		sizeof(run->rules_left_out));
}

void opt_rules_print(const struct run *run)
{
	char text[RULE_TEXT_MAX + 64];

	for (unsigned i = 0; i < run->rules.len; i++) {
		rule_print(&run->rules.rule[i], text, sizeof(text));
		printf("%s\n", text);
	}
}
