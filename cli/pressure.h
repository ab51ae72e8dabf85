/* What `holdfast pressure` shows of one container: its samples and what its rules did, over a span
 * of time that ends now, or at its end. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/graph.h"
#include "cli/state.h"
#include "ipc/settings.h"

#define ACTIONS_SHOWN 35u /* as many marks as there are: 1 to 9, a to z */

#define ACTION_TEXT   168
#define PRESSURE_LINE 2304

struct pressure_action {
	uint64_t act, boot_usec, real_usec;
	bool done; /* else it is on its way, or was when its supervisor died */
	int32_t error_number;
	uint64_t value, threshold;
	char rule[ACTION_TEXT], why[ACTION_TEXT], action[ACTION_TEXT], result[ACTION_TEXT];
};

enum pressure_source {
	SOURCE_NONE, /* nothing was ever near */
	SOURCE_RING,
	SOURCE_LOST, /* what there is can't be used: of another boot, or damaged */
};

struct pressure_view {
	char id[ID_MAX + 4];
	const char *state;
	bool alive;	      /* the span ends now; else with what is known last */
	uint64_t from, to;    /* CLOCK_BOOTTIME, usec */
	uint64_t real_offset; /* of wall time to it */
	enum pressure_source source;
	struct logged samples[LOGGED_MAX + 1]; /* and one of now */
	size_t len;
	struct pressure_action actions[ACTIONS_SHOWN]; /* the newest in the span, oldest first */
	size_t actions_len, actions_more;	       /* so many older ones are left out */
};

/* The graphs, in order: one of memory, then three times two of stalls. */
struct pressure_graph {
	const char *name;
	unsigned figure;
};

#define PRESSURE_GRAPHS 7u
extern const struct pressure_graph pressure_graphs[PRESSURE_GRAPHS];

static inline bool pressure_is_level(unsigned graph)
{
	return graph == 0;
}

/* Fills columns, and tells where the scale ends: the limit, or what there was; or all of the time.
 */
uint64_t pressure_columns(
	const struct pressure_view *v, const struct span *span, unsigned graph, struct column *ret);
uint64_t pressure_limit(const struct pressure_view *v); /* the newest; 0: none */

char pressure_mark(size_t action);
uint64_t pressure_real(const struct pressure_view *v, uint64_t boot_usec);
/* "1 2026-01-31T12:30:05.250000Z RULE: WHY: ACTION: its result", escaped; at least PRESSURE_LINE.
 */
void pressure_line(char *dst, size_t size, const struct pressure_view *v, size_t action);
void pressure_title(char *dst, size_t size, const struct pressure_view *v);
const char *pressure_note(const struct pressure_view *v); /* NULL: nothing is missing */

/* cli/pressure_read.c: 0 or a fault; -ENOENT: there is no such container any more. */
int pressure_read(const char *id, uint64_t since_usec, struct pressure_view *ret);

void pressure_text(const struct pressure_view *v);
void pressure_json(const struct pressure_view *v);
void pressure_svg(FILE *out, const struct pressure_view *v);
