/* What the figures of a container are called by `stats --json` and `metrics`. */
#pragma once

#include <stddef.h>

#include "cli/sample.h"

struct figure {
	enum cgstat_field field;
	const char *json;   /* name in JSON */
	const char *metric; /* family behind "holdfast_", without "_total" */
	const char *unit;   /* of the family, "" none */
	double scale;	    /* kernel's value times this */
	bool counter;	    /* else a gauge */
	const char *help;
};

extern const struct figure figures[];
extern const size_t figures_len;

extern const char *const pressure_names[PRESSURE_RESOURCES]; /* "cpu", "memory", "io" */
extern const char *const pressure_kinds[PRESSURE_KINDS];     /* "some", "full" */

/* "1.5 GiB", "12 MiB", "512 B" */
void figure_bytes(char *dst, size_t size, uint64_t bytes);
