/* What all pictures say. */
#include <stdio.h>
#include <string.h>

#include "cli/pressure.h"
#include "cli/text.h"
#include "cli/when.h"

#define WHOLE 10000u

const struct pressure_graph pressure_graphs[PRESSURE_GRAPHS] = {
	{"memory", LOGGED_MEMORY},
	{"memory some", LOGGED_STALLS},
	{"memory full", LOGGED_STALLS + 1},
	{"cpu some", LOGGED_STALLS + 2},
	{"cpu full", LOGGED_STALLS + 3},
	{"io some", LOGGED_STALLS + 4},
	{"io full", LOGGED_STALLS + 5},
};

uint64_t pressure_limit(const struct pressure_view *v)
{
	for (size_t i = v->len; i > 0; i--)
		if (v->samples[i - 1].has)
			return logged_has(&v->samples[i - 1], LOGGED_LIMIT)
				       ? v->samples[i - 1].value[LOGGED_LIMIT]
				       : 0;
	return 0;
}

uint64_t pressure_columns(
	const struct pressure_view *v, const struct span *span, unsigned graph, struct column *ret)
{
	uint64_t top, limit;

	if (!pressure_is_level(graph)) {
		graph_share(span, v->samples, v->len, pressure_graphs[graph].figure, ret);
		return WHOLE;
	}
	graph_level(span, v->samples, v->len, pressure_graphs[graph].figure, ret);
	top = graph_top(ret, span->columns);
	limit = pressure_limit(v);
	return limit > top ? limit : top;
}

char pressure_mark(size_t action)
{
	static const char marks[] = "123456789abcdefghijklmnopqrstuvwxyz";

	_Static_assert(sizeof(marks) == ACTIONS_SHOWN + 1, "one for each");
	return marks[action % ACTIONS_SHOWN];
}

uint64_t pressure_real(const struct pressure_view *v, uint64_t boot_usec)
{
	return boot_usec + v->real_offset;
}

void pressure_line(char *dst, size_t size, const struct pressure_view *v, size_t action)
{
	const struct pressure_action *a = &v->actions[action];
	const char *failed = a->error_number && !*a->result ? strerror(a->error_number) : "";
	char when[WHEN_TEXT], raw[5 * ACTION_TEXT];

	when_text(when, a->real_usec);
	snprintf(raw, sizeof(raw), "%s: %s: %s%s%s%s%s", a->rule, a->why, a->action,
		*a->result || *failed ? ": " : "", a->result, failed,
		a->done ? "" : ": no result yet");
	text_escape(dst + (size_t)snprintf(dst, size, "%c %s ", pressure_mark(action), when),
		size - WHEN_TEXT - 3, raw, strlen(raw));
}

/* "2026-01-31T12:30:05Z" */
static void second(char ret[WHEN_TEXT], uint64_t real_usec)
{
	when_text(ret, real_usec);
	snprintf(ret + strcspn(ret, "."), 2, "Z");
}

void pressure_title(char *dst, size_t size, const struct pressure_view *v)
{
	char from[WHEN_TEXT], to[WHEN_TEXT];

	second(from, pressure_real(v, v->from));
	second(to, pressure_real(v, v->to));
	snprintf(dst, size, "%s (%s): memory, pressure and actions, %s to %s", v->id, v->state,
		from, to);
}

const char *pressure_note(const struct pressure_view *v)
{
	static const char *const notes[] = {
		[SOURCE_NONE] = "No samples: nothing was ever near to a rule.",
		[SOURCE_RING] = NULL,
		[SOURCE_LOST] =
			"The samples are not shown: they are damaged, or of before the host's restart.",
	};

	return notes[v->source];
}
