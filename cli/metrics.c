/* holdfast metrics: all containers as OpenMetrics text. Family by family, as the format wants it.
 * No time stamps: a textfile collector refuses them. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/figures.h"
#include "cli/options.h"
#include "cli/outfile.h"
#include "cli/sample.h"
#include "ipc/base/fault.h"
#include "ipc/base/mem.h"

#define PREFIX "holdfast_"

struct metrics {
	const char *file; /* NULL: standard output */
};

static const struct option rows[] = {
	{"output", 'o', "FILE", "write it there at once, whole", option_text,
		offsetof(struct metrics, file)},
};

static const struct option_table table = {
	.usage = "holdfast metrics [options]",
	.about =
		"Prints figures of all containers as OpenMetrics text, also where no supervisor is\n"
		"alive. With -o, fit for node_exporter's textfile collector.",
	.rows = rows,
	.len = array_size(rows),
	.mixed = true,
};

static void head(FILE *out, const char *name, const char *type, const char *unit, const char *help)
{
	fprintf(out, "# TYPE " PREFIX "%s %s\n", name, type);
	if (unit[0])
		fprintf(out, "# UNIT " PREFIX "%s %s\n", name, unit);
	fprintf(out, "# HELP " PREFIX "%s %s\n", name, help);
}

/* A label's value: backslash, quote and line end are escaped; what is no ASCII becomes '?', since
 * the text must be UTF-8 and a cgroup path may be anything. */
static void label(FILE *out, const char *name, const char *value)
{
	fprintf(out, "%s=\"", name);
	for (; *value; value++) {
		unsigned char c = (unsigned char)*value;

		if (c == '\\' || c == '"')
			fprintf(out, "\\%c", c);
		else if (c == '\n')
			fputs("\\n", out);
		else
			fputc(c < 0x20 || c > 0x7e ? '?' : c, out);
	}
	fputc('"', out);
}

static void line(FILE *out, const char *name, const char *suffix, const struct sample *r)
{
	fprintf(out, PREFIX "%s%s{", name, suffix);
	label(out, "id", r->dir.id);
	fputs("} ", out);
}

/* What the journal tells. */
struct told {
	const char *name, *type, *unit, *help;
	double (*value)(const struct sample *r); /* < 0: nothing */
};

static double restarts(const struct sample *r)
{
	return (double)r->h.restarts;
}

static double revivals(const struct sample *r)
{
	return (double)r->h.shim_revivals;
}

static double run(const struct sample *r)
{
	return (double)r->h.run;
}

static double started(const struct sample *r)
{
	return r->h.real_started ? (double)r->h.real_started * 1e-6 : -1;
}

static double exit_code(const struct sample *r)
{
	return r->h.last.run ? exit_status(&r->h.last) : -1;
}

static double exit_time(const struct sample *r)
{
	return r->h.last.run ? (double)r->h.last.real_end * 1e-6 : -1;
}

static double missed(const struct sample *r)
{
	return r->has_health ? (double)r->health.missed : -1;
}

static double ended(const struct sample *r)
{
	return r->has_health ? (double)r->health.unhealthy : -1;
}

static double ready(const struct sample *r)
{
	return r->has_health ? r->h.state == LIFE_RUNNING && r->health.ready : -1;
}

static const struct told tells[] = {
	{"ready", "gauge", "", "1: it has said so, and its probes agree.", ready},
	{"watchdog_missed", "counter", "", "Runs ended since WATCHDOG=1 did not come.", missed},
	{"probe_restarts", "counter", "", "Runs ended for a probe or the start timeout.", ended},
	{"restarts", "counter", "", "Restarts of the service.", restarts},
	{"supervisor_revivals", "counter", "", "Supervisors replaced after their death.", revivals},
	{"run", "gauge", "", "Number of the current or newest run.", run},
	{"start_time_seconds", "gauge", "seconds", "When the newest run began.", started},
	{"last_exit_status", "gauge", "", "Exit status of the newest end (128+n: signal n).",
		exit_code},
	{"last_exit_time_seconds", "gauge", "seconds", "When that was.", exit_time},
};

static void print_told(FILE *out, const struct samples *s, const struct told *t)
{
	bool counter = strcmp(t->type, "counter") == 0;

	head(out, t->name, t->type, t->unit, t->help);
	for (size_t i = 0; i < s->len; i++) {
		double value = t->value(s->rows[i]);

		if (value < 0)
			continue;
		line(out, t->name, counter ? "_total" : "", s->rows[i]);
		fprintf(out, t->unit[0] ? "%.3f\n" : "%.0f\n", value);
	}
}

static void print_states(FILE *out, const struct samples *s)
{
	head(out, "container", "info", "", "The container.");
	for (size_t i = 0; i < s->len; i++) {
		fputs(PREFIX "container_info{", out);
		label(out, "id", s->rows[i]->dir.id);
		label(out, ",realm", REALM);
		label(out, ",cgroup", s->rows[i]->cgroup);
		fputs("} 1\n", out);
	}
	head(out, "state", "stateset", "", "What it does.");
	for (size_t i = 0; i < s->len; i++)
		for (unsigned k = 0; k < SAMPLE_STATES; k++) {
			fputs(PREFIX "state{", out);
			label(out, "id", s->rows[i]->dir.id);
			label(out, "," PREFIX "state", sample_word(k));
			fprintf(out, "} %d\n", s->rows[i]->state == k);
		}
}

static void print_health(FILE *out, const struct samples *s)
{
	head(out, "health", "stateset", "", "What its probes say.");
	for (size_t i = 0; i < s->len; i++)
		for (uint32_t v = 0; v < HEALTHS; v++) {
			const struct sample *r = s->rows[i];
			bool known = r->has_health && r->h.state == LIFE_RUNNING;

			fputs(PREFIX "health{", out);
			label(out, "id", r->dir.id);
			label(out, "," PREFIX "health", health_verdict_name(v));
			fprintf(out, "} %d\n", (known ? r->health.verdict : HEALTH_NONE) == v);
		}
}

static void print_result(
	FILE *out, const struct sample *r, uint32_t i, const char *result, uint64_t value)
{
	char target[PROBE_WORDS + 96], number[16];

	snprintf(number, sizeof(number), "%" PRIu32, i); /* two may have one kind and target */
	probe_target(&r->probes.probes[i], target, sizeof(target));
	fputs(PREFIX "probe_results_total{", out);
	label(out, "id", r->dir.id);
	label(out, ",probe", number);
	label(out, ",kind", probe_kind_name(r->probes.probes[i].kind));
	label(out, ",target", target);
	label(out, ",result", result);
	fprintf(out, "} %" PRIu64 "\n", value);
}

static void print_probes(FILE *out, const struct samples *s)
{
	head(out, "probe_results", "counter", "", "Answers to each probe.");
	for (size_t i = 0; i < s->len; i++)
		for (uint32_t k = 0; s->rows[i]->has_health && k < s->rows[i]->probes.count; k++) {
			const struct probe_state *st = &s->rows[i]->health.probes[k];

			print_result(out, s->rows[i], k, "passed", st->passed);
			print_result(out, s->rows[i], k, "failed", st->failed);
		}
}

static void print_figure(FILE *out, const struct samples *s, const struct figure *f)
{
	head(out, f->metric, f->counter ? "counter" : "gauge", f->unit, f->help);
	for (size_t i = 0; i < s->len; i++) {
		const struct cgstat *now = &s->rows[i]->now;

		if (!cgstat_has(now, f->field))
			continue;
		line(out, f->metric, f->counter ? "_total" : "", s->rows[i]);
		if (f->scale < 1)
			fprintf(out, "%.6f\n", (double)now->value[f->field] * f->scale);
		else
			fprintf(out, "%" PRIu64 "\n", now->value[f->field]);
	}
}

static void print_pressure(FILE *out, const struct samples *s)
{
	head(out, "pressure_seconds", "counter", "seconds",
		"Time in which some or all tasks waited for a resource.");
	for (size_t i = 0; i < s->len; i++)
		for (unsigned n = 0; n < PRESSURE_RESOURCES * PRESSURE_KINDS; n++) {
			unsigned r = n / PRESSURE_KINDS, k = n % PRESSURE_KINDS;
			enum cgstat_field f = cgstat_pressure(r, k, PRESSURE_TOTAL);

			if (!cgstat_has(&s->rows[i]->now, f))
				continue;
			fputs(PREFIX "pressure_seconds_total{", out);
			label(out, "id", s->rows[i]->dir.id);
			label(out, ",resource", pressure_names[r]);
			label(out, ",kind", pressure_kinds[k]);
			fprintf(out, "} %.6f\n", (double)s->rows[i]->now.value[f] * 1e-6);
		}
}

static void print(FILE *out, const struct samples *s)
{
	print_states(out, s);
	print_health(out, s);
	print_probes(out, s);
	for (size_t i = 0; i < array_size(tells); i++)
		print_told(out, s, &tells[i]);
	for (size_t i = 0; i < figures_len; i++)
		print_figure(out, s, &figures[i]);
	print_pressure(out, s);
	fputs("# EOF\n", out);
}

static int write_file(const struct metrics *m, const struct samples *s)
{
	auto_free char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return fault(-ENOMEM, "metrics");
	print(out, s);
	if (fclose(out) != 0)
		return fault(-ENOMEM, "metrics");
	return outfile_replace(m->file, text, len);
}

int command_metrics(int argc, char **argv)
{
	struct metrics m = {0};
	struct samples s = {0};
	int first, r = options_parse(&table, &m, argc, argv, &first);

	if (r == OPTIONS_HELP)
		return CLI_OK;
	if (r == OPTIONS_OK && first < argc)
		r = options_excess("metrics", argv[first]);
	if (r == 0 && m.file && !m.file[0])
		r = fault_plain(-EINVAL, "--output \"\": not the name of a file");
	if (r < 0) {
		complain("%s", fault_text());
		return CLI_USAGE;
	}
	r = samples_open(&s);
	if (r == 0)
		r = samples_take(&s, NULL, 0);
	if (r == 0 && m.file)
		r = write_file(&m, &s);
	else if (r == 0)
		print(stdout, &s);
	samples_close(&s);
	if (r == 0)
		return CLI_OK;
	complain("%s", fault_text());
	return CLI_FAILED;
}
