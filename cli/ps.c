/* holdfast ps: from state directories and journals alone, so that it answers whoever is alive. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/spec.h"
#include "cli/state.h"
#include "cli/text.h"
#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/mem.h"

enum column { COL_ID, COL_PID, COL_STATE, COL_RESTARTS, COL_CREATED, COL_COMMAND, COLUMNS };

#define CELL 96

struct row {
	char cell[COLUMNS][CELL];
};

struct ps {
	bool all, quiet;
	struct spec_list labels; /* const char *: shown are those that have all of them */
	struct row *rows;
	size_t len;
};

static int set_filter(void *ctx, const struct option *o, const char *value)
{
	struct ps *ps = ctx;
	const char *label = value + 6;

	if (strncmp(value, "label=", 6) != 0 || !*label || *label == '=')
		return option_bad(o, value, "use label=KEY or label=KEY=VALUE");
	return spec_list_add(&ps->labels, &label, sizeof(label));
}

static const struct option rows[] = {
	{"all", 'a', NULL, "also those that have ended", option_flag, offsetof(struct ps, all)},
	{"filter", 'f', "label=KEY[=VALUE]", "only those with this label (and every other given)",
		set_filter, 0},
	{"quiet", 'q', NULL, "ids only", option_flag, offsetof(struct ps, quiet)},
};

static const struct option_table table = {
	.usage = "holdfast ps [options]",
	.about = "Lists containers.",
	.rows = rows,
	.len = array_size(rows),
	.mixed = true,
};

static void age_since(char *dst, size_t size, uint64_t then, uint64_t now)
{
	text_age(dst, size, now > then ? now - then : 0);
}

static void state_ended(char *dst, const struct history *h)
{
	char age[32];

	age_since(age, sizeof(age), h->last.real_end, now_real());
	if (h->last.run == 0)
		snprintf(dst, CELL, "Never started");
	else
		snprintf(dst, CELL, "Exited (%d) %s ago%s", exit_status(&h->last), age,
			h->last.flags & EXIT_OOM_SEEN ? ", OOM" : "");
}

static void state_alive(char *dst, const struct history *h)
{
	char age[32];

	age_since(age, sizeof(age), h->boot_started, now_boot());
	if (h->state == LIFE_RUNNING)
		snprintf(dst, CELL, "Up %s", age);
	else if (h->state == LIFE_BACKOFF && h->last.run)
		snprintf(dst, CELL, "Restarting (%d)", exit_status(&h->last));
	else
		snprintf(dst, CELL, "%c%s", life_name(h->state)[0] - 'a' + 'A',
			life_name(h->state) + 1);
}

/* True when it belongs into the short list. */
static bool describe_state(char *dst, const struct history *h, bool stale, bool supervised)
{
	if (h->state == LIFE_DOWN || h->state == LIFE_REMOVED) {
		state_ended(dst, h);
		return false;
	}
	if (stale) {
		snprintf(dst, CELL, "Lost (host restarted)");
		return false;
	}
	if (supervised) {
		state_alive(dst, h);
		return true;
	}
	if (h->state == LIFE_NEW) {
		snprintf(dst, CELL, "Never started");
		return false;
	}
	snprintf(dst, CELL, "Orphaned (stop, kill, restart or rm -f ends it)");
	return true;
}

static void describe(struct row *row, const struct state *s, const struct history *h)
{
	char age[32] = "-";

	text_escape(row->cell[COL_ID], CELL, s->id, strlen(s->id));
	if (h->pid > 0)
		snprintf(row->cell[COL_PID], CELL, "%d", h->pid);
	else
		snprintf(row->cell[COL_PID], CELL, "-");
	snprintf(row->cell[COL_RESTARTS], CELL, "%u/%llu", h->run, (unsigned long long)h->restarts);
	if (h->real_created)
		age_since(age, sizeof(age), h->real_created, now_real());
	snprintf(row->cell[COL_CREATED], CELL, "%s%s", age, h->real_created ? " ago" : "");
	spec_command(s->dirfd, row->cell[COL_COMMAND], 48);
}

static bool chosen(const struct ps *ps, const struct state *s)
{
	const char *const *label = ps->labels.items;

	for (size_t i = 0; i < ps->labels.len; i++)
		if (!spec_has_label(s->dirfd, label[i]))
			return false;
	return true;
}

/* A container that can't be read is a row that says so, not an end of the list. */
static int add(struct ps *ps, const char *id)
{
	struct row *grown = realloc(ps->rows, (ps->len + 1) * sizeof(*grown));
	struct history h;
	struct state s;
	bool stale = false, listed;
	int r;

	if (!grown)
		return fault(-ENOMEM, "list");
	ps->rows = grown;
	if (state_open(id, &s) < 0)
		return 0; /* removed since it was listed */
	if (!chosen(ps, &s)) {
		state_close(&s);
		return 0;
	}
	history_init(&h);
	r = state_history(&s, &h, &stale);
	memset(&grown[ps->len], 0, sizeof(*grown));
	describe(&grown[ps->len], &s, &h);
	if (r < 0) {
		listed = true;
		snprintf(grown[ps->len].cell[COL_STATE], CELL, "Damaged (%.80s)", fault_text());
	} else {
		listed = describe_state(
			grown[ps->len].cell[COL_STATE], &h, stale, state_supervised(&s) > 0);
	}
	ps->len += listed || ps->all;
	state_close(&s);
	return 0;
}

static int collect(struct ps *ps)
{
	char **ids;
	size_t len;
	int r = state_list(&ids, &len);

	for (size_t i = 0; r == 0 && i < len; i++)
		r = add(ps, ids[i]);
	for (size_t i = 0; i < len; i++)
		free(ids[i]);
	free(ids);
	return r;
}

static int print(const struct ps *ps)
{
	static const char *const head[COLUMNS] = {
		"ID", "PID", "STATE", "RUN/RESTARTS", "CREATED", "COMMAND"};
	const char **cells = calloc((ps->len + 1) * COLUMNS, sizeof(*cells));

	if (!cells)
		return fault(-ENOMEM, "list");
	memcpy(cells, head, sizeof(head));
	for (size_t i = 0; i < ps->len * COLUMNS; i++)
		cells[COLUMNS + i] = ps->rows[i / COLUMNS].cell[i % COLUMNS];
	for (size_t i = 0; ps->quiet && i < ps->len; i++)
		printf("%s\n", ps->rows[i].cell[COL_ID]);
	if (!ps->quiet)
		text_table(cells, ps->len + 1, COLUMNS);
	free(cells);
	return 0;
}

int command_ps(int argc, char **argv)
{
	struct ps ps = {0};
	int first, r = options_parse(&table, &ps, argc, argv, &first);

	if (r == OPTIONS_HELP)
		return CLI_OK;
	if (r == OPTIONS_OK && first < argc)
		r = options_excess("ps", argv[first]);
	if (r < 0) {
		complain("%s", fault_text());
		return CLI_USAGE;
	}
	r = collect(&ps);
	if (r == 0)
		r = print(&ps);
	free(ps.rows);
	free(ps.labels.items);
	if (r == 0)
		return CLI_OK;
	complain("%s", fault_text());
	return CLI_FAILED;
}
