/* holdfast stats: figures of containers, again and again, as a table or as JSON lines. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/figures.h"
#include "cli/options.h"
#include "cli/sample.h"
#include "cli/text.h"
#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/mem.h"

#define FIRST_USEC   (200 * USEC_PER_MSEC) /* a rate needs two looks */
#define INTERVAL_MIN (100 * USEC_PER_MSEC)
#define INTERVAL_MAX (24 * 3600 * USEC_PER_SEC)
#define CELL	     32

struct stats {
	bool json, once, all;
	uint64_t interval_usec;
};

static int set_interval(void *ctx, const struct option *o, const char *value)
{
	struct stats *s = ctx;
	int r = option_duration(ctx, o, value);

	if (r == 0 && (s->interval_usec < INTERVAL_MIN || s->interval_usec > INTERVAL_MAX))
		return option_bad(o, value, "use 100ms to 24h");
	return r;
}

static const struct option rows[] = {
	{"all", 'a', NULL, "also those that have ended", option_flag, offsetof(struct stats, all)},
	{"interval", 'i', "TIME", "between two looks (1s)", set_interval,
		offsetof(struct stats, interval_usec)},
	{"json", 0, NULL, "one JSON object a line", option_flag, offsetof(struct stats, json)},
	{"no-stream", 0, NULL, "once", option_flag, offsetof(struct stats, once)},
};

static const struct option_table table = {
	.usage = "holdfast stats [options] [ID...]",
	.about =
		"Shows what containers use (all that live, or those given), also where no supervisor\n"
		"is alive.",
	.rows = rows,
	.len = array_size(rows),
	.mixed = true,
};

/* JSON ----------------------------------------------------------------------------------------- */

static void json_pressure(const struct sample *r)
{
	const char *sep = "";

	fputs(",\"pressure\":{", stdout);
	for (unsigned i = 0; i < PRESSURE_RESOURCES * PRESSURE_KINDS; i++) {
		unsigned what = i / PRESSURE_KINDS, kind = i % PRESSURE_KINDS;
		const uint64_t *v = &r->now.value[cgstat_pressure(what, kind, 0)];

		if (!cgstat_has(&r->now, cgstat_pressure(what, kind, PRESSURE_TOTAL)))
			continue;
		printf("%s\"%s_%s\":{\"avg10\":%.2f,\"avg60\":%.2f,\"total_usec\":%" PRIu64 "}",
			sep, pressure_names[what], pressure_kinds[kind],
			(double)v[PRESSURE_AVG10] / 100, (double)v[PRESSURE_AVG60] / 100,
			v[PRESSURE_TOTAL]);
		sep = ",";
	}
	fputs("}", stdout);
}

static void print_json(const struct sample *r)
{
	double cpu = sample_cpu(r);

	printf("{\"id\":\"%s\",\"state\":\"%s\",\"time_usec\":%" PRIu64
	       ",\"run\":%u,\"restarts\":%" PRIu64,
		r->dir.id, sample_word(r->state), now_real(), r->h.run, r->h.restarts);
	if (r->h.last.run)
		printf(",\"last_exit\":%d", exit_status(&r->h.last));
	if (cpu >= 0)
		printf(",\"cpu_percent\":%.2f", cpu);
	for (size_t i = 0; i < figures_len; i++)
		if (cgstat_has(&r->now, figures[i].field))
			printf(",\"%s\":%" PRIu64, figures[i].json, r->now.value[figures[i].field]);
	json_pressure(r);
	puts("}");
}

/* Table ---------------------------------------------------------------------------------------- */

enum column {
	COL_ID,
	COL_STATE,
	COL_CPU,
	COL_MEM,
	COL_LIMIT,
	COL_PERCENT,
	COL_PSI,
	COL_IO,
	COL_PIDS,
	COLUMNS
};

static void bytes(char *dst, const struct cgstat *s, enum cgstat_field f)
{
	if (cgstat_has(s, f))
		figure_bytes(dst, CELL, s->value[f]);
}

static void percent(char *dst, double n)
{
	if (n >= 0)
		snprintf(dst, CELL, "%.1f%%", n);
}

static void psi_cell(char *dst, const struct cgstat *s)
{
	enum cgstat_field some = cgstat_pressure(PRESSURE_MEMORY, PRESSURE_SOME, PRESSURE_AVG10),
			  full = cgstat_pressure(PRESSURE_MEMORY, PRESSURE_FULL, PRESSURE_AVG10);

	if (cgstat_has(s, some))
		snprintf(dst, CELL, "%.1f/%.1f", (double)s->value[some] / 100,
			(double)s->value[full] / 100);
}

static void io_cell(char *dst, const struct cgstat *s)
{
	char in[16], out[16];

	if (!cgstat_has(s, CGSTAT_IO_READ))
		return;
	figure_bytes(in, sizeof(in), s->value[CGSTAT_IO_READ]);
	figure_bytes(out, sizeof(out), s->value[CGSTAT_IO_WRITE]);
	snprintf(dst, CELL, "%.12s/%.12s", in, out);
}

static void fill(char cell[COLUMNS][CELL], const struct sample *r)
{
	const struct cgstat *s = &r->now;

	for (int i = 0; i < COLUMNS; i++)
		snprintf(cell[i], CELL, "-");
	snprintf(cell[COL_STATE], CELL, "%s", sample_word(r->state));
	percent(cell[COL_CPU], sample_cpu(r));
	bytes(cell[COL_MEM], s, CGSTAT_MEM_CURRENT);
	bytes(cell[COL_LIMIT], s, CGSTAT_MEM_LIMIT);
	if (cgstat_has(s, CGSTAT_MEM_LIMIT) && s->value[CGSTAT_MEM_LIMIT])
		percent(cell[COL_PERCENT], (double)s->value[CGSTAT_MEM_CURRENT] * 100 /
						   (double)s->value[CGSTAT_MEM_LIMIT]);
	psi_cell(cell[COL_PSI], s);
	io_cell(cell[COL_IO], s);
	if (cgstat_has(s, CGSTAT_PIDS_CURRENT))
		snprintf(cell[COL_PIDS], CELL, "%" PRIu64, s->value[CGSTAT_PIDS_CURRENT]);
}

static bool shown(const struct stats *o, const struct sample *r, bool named)
{
	return named || o->all || sample_alive(r);
}

static int print_table(const struct stats *o, const struct samples *s, bool named)
{
	static const char *const head[COLUMNS] = {
		"ID", "STATE", "CPU", "MEMORY", "LIMIT", "MEM%", "PSI-MEM", "READ/WRITTEN", "PIDS"};
	char(*text)[COLUMNS][CELL] = calloc(s->len + 1, sizeof(*text));
	const char **cells = calloc((s->len + 1) * COLUMNS, sizeof(*cells));
	size_t n = 1;

	if (!text || !cells) {
		free(text);
		free(cells);
		return fault(-ENOMEM, "table");
	}
	memcpy(cells, head, sizeof(head));
	for (size_t i = 0; i < s->len; i++) {
		if (!shown(o, s->rows[i], named))
			continue;
		fill(text[n], s->rows[i]);
		for (int k = 0; k < COLUMNS; k++)
			cells[n * COLUMNS + (size_t)k] = text[n][k];
		cells[n * COLUMNS] = s->rows[i]->dir.id;
		n++;
	}
	text_table(cells, n, COLUMNS);
	free(text);
	free(cells);
	return 0;
}

/* Again and again ------------------------------------------------------------------------------ */

static int print(const struct stats *o, const struct samples *s, bool named, bool clear)
{
	int r = 0;

	if (clear)
		fputs("\033[H\033[J", stdout);
	if (o->json) {
		for (size_t i = 0; i < s->len; i++)
			if (shown(o, s->rows[i], named))
				print_json(s->rows[i]);
	} else {
		r = print_table(o, s, named);
	}
	return fflush(stdout) == 0 ? r : fault(-errno, "standard output");
}

static int stream(const struct stats *o, char **ids, size_t len)
{
	const char *term = getenv("TERM");
	bool clear =
		!o->once && !o->json && isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") != 0;
	struct samples s;
	int r = samples_open(&s);

	if (r == 0)
		r = samples_take(&s, ids, len);
	if (r == 0) /* the first rates */
		poll(NULL, 0, FIRST_USEC / USEC_PER_MSEC);
	while (r == 0) {
		r = samples_take(&s, ids, len);
		if (r == 0)
			r = print(o, &s, ids != NULL, clear);
		if (r < 0 || o->once || (ids && s.len == 0)) /* those asked for are gone */
			break;
		poll(NULL, 0, (int)(o->interval_usec / USEC_PER_MSEC));
	}
	samples_close(&s);
	return r;
}

int command_stats(int argc, char **argv)
{
	struct stats o = {.interval_usec = USEC_PER_SEC};
	char **ids = NULL;
	int first, r = options_parse(&table, &o, argc, argv, &first);
	size_t len;

	if (r == OPTIONS_HELP)
		return CLI_OK;
	if (r < 0) {
		complain("%s", fault_text());
		return CLI_USAGE;
	}
	len = (size_t)(argc - first);
	if (len)
		r = samples_find(&argv[first], len, &ids);
	if (r == 0)
		r = stream(&o, ids, len);
	samples_free_ids(ids, len);
	if (r == 0)
		return CLI_OK;
	complain("%s", fault_text());
	return state_status(r);
}
