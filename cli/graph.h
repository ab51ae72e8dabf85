/* Samples as columns of a picture, and columns as rows of characters. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "monitor/pressure_log.h"

enum column_kind {
	COLUMN_NONE,  /* nothing is known */
	COLUMN_QUIET, /* between two looks: nothing was near. A level is not known, a share is */
	COLUMN_VALUE,
};

struct column {
	enum column_kind kind;
	uint64_t value;
};

/* A span of CLOCK_BOOTTIME, in columns of one width. */
struct span {
	uint64_t from, to;
	unsigned columns;
};

unsigned span_column(const struct span *s, uint64_t at); /* the nearest one */

/* The highest of a figure within each column. */
void graph_level(const struct span *span, const struct logged *s, size_t len, unsigned figure,
	struct column *ret);
/* Of a total of usec: its growth over each column, hundredths of a percent of the time. */
void graph_share(const struct span *span, const struct logged *s, size_t len, unsigned figure,
	struct column *ret);

uint64_t graph_top(const struct column *c, unsigned len); /* the highest; 0: there is none */

#define GRAPH_CELL 3 /* bytes of one column at most */

/* One of `rows` rows (0 is the top one) of a graph that ends at `top`. Returns its length. */
size_t graph_row(char *dst, size_t size, const struct column *c, unsigned len, uint64_t top,
	unsigned rows, unsigned row, bool utf8);
