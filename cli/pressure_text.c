/* The picture in a terminal. Colour only helps to find things; nothing is said by it alone. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/figures.h"
#include "cli/pressure.h"
#include "cli/screen.h"
#include "cli/when.h"

#define LABEL	    15u
#define COLUMNS_MIN 20u
#define COLUMNS_MAX 400u
#define MEMORY_ROWS 4u
#define STALL_ROWS  2u
#define CLOCK_AT    11 /* in "2026-01-31T12:30:05" */
#define CLOCK_LEN   8

struct drawing {
	const struct pressure_view *v;
	struct span span;
	bool utf8, colour;
	struct column columns[COLUMNS_MAX];
};

static void style(const struct drawing *d, const char *code)
{
	if (d->colour)
		printf("\033[%sm", code);
}

/* Behind the name, in the label's second row and below: the numbers. */
static void label(
	char *dst, size_t size, const struct drawing *d, unsigned graph, unsigned row, uint64_t top)
{
	uint64_t most = graph_top(d->columns, d->span.columns), limit = pressure_limit(d->v);
	char bytes[10]; /* "1024 KiB" */

	snprintf(dst, size, "%s", row == 0 ? pressure_graphs[graph].name : "");
	if (row == 1 && top && !pressure_is_level(graph)) {
		snprintf(dst, size, " max %.1f%%", (double)most / 100);
	} else if (row == 1 && top) {
		figure_bytes(bytes, sizeof(bytes), most);
		snprintf(dst, size, " max %s", bytes);
	} else if (row == 2 && limit) {
		figure_bytes(bytes, sizeof(bytes), limit);
		snprintf(dst, size, " of  %s", bytes);
	} else if (row == 2 && pressure_is_level(graph)) {
		snprintf(dst, size, " no limit");
	}
}

static void graph(struct drawing *d, unsigned n)
{
	unsigned rows = pressure_is_level(n) ? MEMORY_ROWS : STALL_ROWS;
	uint64_t top = pressure_columns(d->v, &d->span, n, d->columns);
	char line[(COLUMNS_MAX + 1) * GRAPH_CELL + 1], text[LABEL + 2];

	for (unsigned row = 0; row < rows; row++) {
		label(text, sizeof(text), d, n, row, top);
		graph_row(line, sizeof(line), d->columns, d->span.columns, top, rows, row, d->utf8);
		printf("%-*s|", (int)LABEL, text);
		style(d, pressure_is_level(n) ? "36" : "33");
		fputs(line, stdout);
		style(d, "0");
		puts("|");
	}
}

/* In order, close ones beside each other; what finds no room at the end moves the others. */
static size_t place_all(const struct drawing *d, unsigned at[ACTIONS_SHOWN])
{
	unsigned columns = d->span.columns;
	size_t all = d->v->actions_len, n = all < columns ? all : columns;

	for (size_t i = 0; i < n; i++) {
		at[i] = span_column(&d->span, d->v->actions[all - n + i].boot_usec);
		if (i && at[i] <= at[i - 1])
			at[i] = at[i - 1] + 1;
	}
	for (size_t i = 0; i < n; i++)
		if (at[n - 1 - i] > columns - 1 - i)
			at[n - 1 - i] = (unsigned)(columns - 1 - i);
	return n;
}

static void marks(const struct drawing *d)
{
	unsigned at[ACTIONS_SHOWN];
	size_t n = place_all(d, at);
	char line[COLUMNS_MAX + 1];

	memset(line, ' ', sizeof(line));
	for (size_t i = 0; i < n; i++)
		line[at[i]] = pressure_mark(d->v->actions_len - n + i);
	printf("%-*s|", (int)LABEL, "actions");
	style(d, "1");
	printf("%.*s", (int)d->span.columns, line);
	style(d, "0");
	puts("|");
}

static void axis(const struct drawing *d)
{
	char from[WHEN_TEXT], to[WHEN_TEXT];

	when_text(from, pressure_real(d->v, d->v->from));
	when_text(to, pressure_real(d->v, d->v->to));
	printf("%-*s %.*s%*.*s\n", (int)LABEL, "UTC", CLOCK_LEN, from + CLOCK_AT,
		(int)d->span.columns - CLOCK_LEN, CLOCK_LEN, to + CLOCK_AT);
}

static void legend(const struct drawing *d)
{
	const struct pressure_view *v = d->v;
	char line[PRESSURE_LINE];

	printf("%s quiet: nothing was near, so nobody looked at memory (it is not 0), and pressure is "
	       "the average\nblank: not known, or 0; bars end at the limit, or at 100%%\n",
		d->utf8 ? "\xc2\xb7" : "~");
	for (size_t i = 0; i < v->actions_len; i++) {
		pressure_line(line, sizeof(line), v, i);
		puts(line);
	}
	if (v->actions_more)
		printf("and %zu earlier ones (holdfast events %s)\n", v->actions_more, v->id);
	if (!v->actions_len)
		puts("no actions");
	if (pressure_note(v))
		puts(pressure_note(v));
}

static unsigned width(void)
{
	unsigned rows, columns, around = LABEL + 2;

	screen_size(&rows, &columns);
	if (columns < around + COLUMNS_MIN)
		return COLUMNS_MIN;
	return columns - around < COLUMNS_MAX ? columns - around : COLUMNS_MAX;
}

void pressure_text(const struct pressure_view *v)
{
	const char *term = getenv("TERM");
	struct drawing d = {
		.v = v,
		.span = {.from = v->from, .to = v->to, .columns = width()},
		.utf8 = screen_utf8(),
		.colour = isatty(STDOUT_FILENO) && screen_colour() && term && *term &&
			  strcmp(term, "dumb") != 0,
	};
	char title[256];

	pressure_title(title, sizeof(title), v);
	style(&d, "1");
	fputs(title, stdout);
	style(&d, "0");
	putchar('\n');
	for (unsigned i = 0; i < PRESSURE_GRAPHS; i++)
		graph(&d, i);
	marks(&d);
	axis(&d);
	legend(&d);
}
