#include "cli/graph.h"

#include <stdio.h>

#include "ipc/base/clock.h"

#define GAP_USEC (2 * USEC_PER_SEC) /* a shim that looks does so more often */
#define LEVELS	 8u
#define WHOLE	 10000u

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Where column i begins. */
static uint64_t edge(const struct span *s, unsigned i)
{
	return s->from + (uint64_t)((unsigned __int128)(s->to - s->from) * i / s->columns);
}

unsigned span_column(const struct span *s, uint64_t at)
{
	uint64_t n;

	if (at <= s->from)
		return 0;
	n = (uint64_t)((unsigned __int128)(at - s->from) * s->columns / (s->to - s->from));
	return (unsigned)earlier(n, s->columns - 1);
}

static void raise_to(struct column *c, uint64_t value)
{
	c->value = c->kind == COLUMN_VALUE ? later(c->value, value) : value;
	c->kind = COLUMN_VALUE;
}

/* The columns that the time between two samples touches: from first, before last. */
static void between(const struct span *span, const struct logged *a, const struct logged *b,
	unsigned *first, unsigned *last)
{
	*first = *last = 0;
	if (b->boot_usec <= span->from || a->boot_usec >= span->to)
		return;
	*first = span_column(span, a->boot_usec);
	*last = span_column(span, b->boot_usec) + 1;
}

void graph_level(const struct span *span, const struct logged *s, size_t len, unsigned figure,
	struct column *ret)
{
	unsigned first, last;

	for (unsigned i = 0; i < span->columns; i++)
		ret[i] = (struct column){COLUMN_NONE, 0};
	for (size_t i = 1; i < len; i++) {
		bool gap = s[i].boot_usec - s[i - 1].boot_usec > GAP_USEC;

		between(span, &s[i - 1], &s[i], &first, &last);
		for (unsigned k = first; k < last; k++)
			if (gap && ret[k].kind == COLUMN_NONE)
				ret[k].kind = COLUMN_QUIET;
			else if (!gap && logged_has(&s[i - 1], figure))
				raise_to(&ret[k], s[i - 1].value[figure]);
	}
	for (size_t i = 0; i < len; i++)
		if (logged_has(&s[i], figure) && s[i].boot_usec >= span->from &&
			s[i].boot_usec <= span->to)
			raise_to(&ret[span_column(span, s[i].boot_usec)], s[i].value[figure]);
}

/* What is known of one column: how long, and how much of that was stalled. */
struct sum {
	double known, stalled;
	bool looked;
};

static void add(struct sum *sum, uint64_t from, uint64_t to, const struct logged *a,
	const struct logged *b, unsigned figure)
{
	uint64_t begin = later(from, a->boot_usec), end = earlier(to, b->boot_usec);
	uint64_t grown = b->value[figure] - a->value[figure];
	double length = (double)(b->boot_usec - a->boot_usec);

	if (begin >= end)
		return;
	sum->known += (double)(end - begin);
	sum->stalled += (double)grown * (double)(end - begin) / length;
	sum->looked |= length <= (double)GAP_USEC;
}

/* A total that went back is another group's. */
static bool measured(const struct logged *a, const struct logged *b, unsigned figure)
{
	return logged_has(a, figure) && logged_has(b, figure) && b->boot_usec > a->boot_usec &&
	       b->value[figure] >= a->value[figure];
}

static struct column share_of(const struct sum *sum)
{
	double share = sum->known > 0 ? sum->stalled * WHOLE / sum->known : 0;

	if (sum->known <= 0)
		return (struct column){COLUMN_NONE, 0};
	return (struct column){
		.kind = sum->looked ? COLUMN_VALUE : COLUMN_QUIET,
		.value = share < WHOLE ? (uint64_t)(share + 0.5) : WHOLE,
	};
}

void graph_share(const struct span *span, const struct logged *s, size_t len, unsigned figure,
	struct column *ret)
{
	size_t first = 1;

	for (unsigned k = 0; k < span->columns; k++) {
		uint64_t from = edge(span, k), to = edge(span, k + 1);
		struct sum sum = {0};

		while (first < len && s[first].boot_usec <= from)
			first++;
		for (size_t i = first; i < len && s[i - 1].boot_usec < to; i++)
			if (measured(&s[i - 1], &s[i], figure))
				add(&sum, from, to, &s[i - 1], &s[i], figure);
		ret[k] = share_of(&sum);
	}
}

uint64_t graph_top(const struct column *c, unsigned len)
{
	uint64_t top = 0;

	for (unsigned i = 0; i < len; i++)
		top = c[i].kind == COLUMN_NONE ? top : later(top, c[i].value);
	return top;
}

/* In eighths of a row; whatever is more than nothing is seen. */
static unsigned height(uint64_t value, uint64_t top, unsigned rows)
{
	double eighths = top ? (double)value * rows * LEVELS / (double)top + 0.5 : 0;
	unsigned most = rows * LEVELS;

	if (value && top && eighths < 1)
		return 1;
	return eighths < most ? (unsigned)eighths : most;
}

static size_t cell(char *dst, size_t size, unsigned level, bool quiet, bool utf8)
{
	static const char ascii[] = " .:-=+*#@";

	if (level && utf8) /* U+2581 to U+2588 */
		return (size_t)snprintf(dst, size, "\xe2\x96%c", (char)(0x80 + level));
	if (level)
		return (size_t)snprintf(dst, size, "%c", ascii[level]);
	return (size_t)snprintf(dst, size, "%s", !quiet ? " " : utf8 ? "\xc2\xb7" : "~");
}

size_t graph_row(char *dst, size_t size, const struct column *c, unsigned len, uint64_t top,
	unsigned rows, unsigned row, bool utf8)
{
	unsigned below = (rows - 1 - row) * LEVELS;
	size_t at = 0;

	dst[0] = '\0';
	for (unsigned i = 0; i < len && at + GRAPH_CELL < size; i++) {
		unsigned h = c[i].kind == COLUMN_NONE ? 0 : height(c[i].value, top, rows);
		unsigned level = h <= below ? 0 : h - below < LEVELS ? h - below : LEVELS;
		bool quiet = c[i].kind == COLUMN_QUIET && row == rows - 1;

		at += cell(dst + at, size - at, level, quiet, utf8);
	}
	return at;
}
