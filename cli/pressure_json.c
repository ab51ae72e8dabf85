/* The same for scripts: samples and actions as they are, nothing drawn. What is absent is not
 * known. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/json.h"
#include "cli/pressure.h"

static void number(bool *first, const char *name, uint64_t n)
{
	json_name(first, name);
	printf("%" PRIu64, n);
}

static void text(bool *first, const char *name, const char *s)
{
	json_name(first, name);
	json_text(s);
}

static void sample(const struct pressure_view *v, const struct logged *s)
{
	static const char *const names[LOGGED_FIGURES] = {"memory_current_bytes",
		"memory_limit_bytes", "pids_current", "memory_some_usec", "memory_full_usec",
		"cpu_some_usec", "cpu_full_usec", "io_some_usec", "io_full_usec"};
	bool first = true;

	putchar('{');
	number(&first, "time_usec", pressure_real(v, s->boot_usec));
	number(&first, "run", s->run);
	for (unsigned i = 0; i < LOGGED_FIGURES; i++)
		if (logged_has(s, i))
			number(&first, names[i], s->value[i]);
	putchar('}');
}

static void action(const struct pressure_view *v, const struct pressure_action *a)
{
	bool first = true;

	putchar('{');
	number(&first, "time_usec", a->real_usec);
	text(&first, "rule", a->rule);
	text(&first, "why", a->why);
	number(&first, "value", a->value);
	number(&first, "threshold", a->threshold);
	text(&first, "action", a->action);
	text(&first, "result", a->result);
	json_name(&first, "done");
	fputs(a->done ? "true" : "false", stdout);
	json_name(&first, "error_number");
	printf("%" PRId32 "}", a->error_number);
}

void pressure_json(const struct pressure_view *v)
{
	static const char *const sources[] = {"none", "kept", "lost"};
	bool first = true;

	putchar('{');
	text(&first, "id", v->id);
	text(&first, "state", v->state);
	number(&first, "from_usec", pressure_real(v, v->from));
	number(&first, "to_usec", pressure_real(v, v->to));
	text(&first, "samples_are", sources[v->source]);
	json_name(&first, "samples");
	putchar('[');
	for (size_t i = 0; i < v->len; i++) {
		fputs(i ? ", " : "", stdout);
		sample(v, &v->samples[i]);
	}
	fputs("], \"actions\": [", stdout);
	for (size_t i = 0; i < v->actions_len; i++) {
		fputs(i ? ", " : "", stdout);
		action(v, &v->actions[i]);
	}
	putchar(']');
	number(&first, "actions_left_out", v->actions_more);
	puts("}");
}
