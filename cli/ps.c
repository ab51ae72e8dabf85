/* holdfast ps: from state directories and journals alone, so that it answers whoever is alive. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/json.h"
#include "cli/options.h"
#include "cli/ps_filter.h"
#include "cli/spec.h"
#include "cli/state.h"
#include "cli/text.h"
#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/mem.h"
#include "ipc/event_msg.h"
#include "ipc/health.h"

enum column { COL_ID, COL_PID, COL_STATE, COL_RESTARTS, COL_CREATED, COL_COMMAND, COLUMNS };

#define CELL 96

struct row {
	char cell[COLUMNS][CELL];
	char id[ID_MAX + 4];
	const char *state; /* one word */
	bool supervised;
	uint64_t created;
	struct history now;
	bool has_health; /* and it is up */
	struct health_state health;
	char command[512];
};

struct ps {
	bool all, quiet, json;
	struct ps_filter filter;
	struct row *rows;
	size_t len;
};

static const struct option rows[] = {
	{"all", 'a', NULL, "also those that have ended", option_flag, offsetof(struct ps, all)},
	{"filter", 'f', "KEY=VALUE", "status, name, label, health or exited (its status)",
		ps_filter_add, offsetof(struct ps, filter)},
	{"json", 0, NULL, "as a JSON array", option_flag, offsetof(struct ps, json)},
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
			h->last.flags & EXIT_OOM_SEEN  ? ", OOM"
			: h->last.flags & EXIT_UNKNOWN ? ", status not known"
						       : "");
}

static void state_alive(char *dst, const struct history *h)
{
	char age[32];

	age_since(age, sizeof(age), h->boot_started, now_boot());
	if (h->paused)
		snprintf(dst, CELL, "Paused (up %s)", age);
	else if (h->state == LIFE_RUNNING)
		snprintf(dst, CELL, "Up %s", age);
	else if (h->state == LIFE_BACKOFF && h->last.run)
		snprintf(dst, CELL, "Restarting (%d)", exit_status(&h->last));
	else
		snprintf(dst, CELL, "%c%s", life_name(h->state)[0] - 'a' + 'A',
			life_name(h->state) + 1);
}

/* True when it belongs into the short list. */
static bool describe_state(
	char *dst, const struct history *h, bool stale, bool supervised, bool enabled)
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
		snprintf(dst, CELL, "%s", enabled ? "Never started" : "Created");
		return false;
	}
	snprintf(dst, CELL, "Orphaned (holdfast adopt)");
	return true;
}

/* As docker shows it: "Up 3 minutes (healthy)". */
static void describe_health(struct row *row, const struct state *s)
{
	const struct health_state *st = &row->health;
	char *cell = row->cell[COL_STATE], status[4 * sizeof(st->status)];
	size_t len = strlen(cell);

	row->has_health = row->supervised && row->now.state == LIFE_RUNNING && !row->now.paused &&
			  health_state_read(s->dirfd, &row->health) == 0;
	if (!row->has_health)
		return;
	text_escape(status, sizeof(status), st->status, strlen(st->status));
	if (st->verdict != HEALTH_NONE)
		len += (size_t)snprintf(
			cell + len, CELL - len, " (%s)", health_verdict_name(st->verdict));
	if (!st->ready && st->verdict != HEALTH_STARTING)
		len += (size_t)snprintf(cell + len, CELL - len, " (not ready)");
	if (status[0])
		snprintf(cell + len, CELL - len, ": %.40s", status);
}

/* The same as one word, for filters and machines. */
static const char *word_of(const struct history *h, bool stale, bool supervised)
{
	if (h->state == LIFE_DOWN || h->state == LIFE_REMOVED || h->state == LIFE_NEW)
		return life_name(h->state);
	return stale ? "lost" : supervised ? life_name(h->state) : "orphaned";
}

static void describe(struct row *row, const struct state *s)
{
	const struct history *h = &row->now;
	struct settings settings;
	char age[32] = "-";

	row->created = h->real_created;
	if (settings_read(s->dirfd, &settings) == 0) /* a journal begins with the first start */
		row->created = settings.real_created;
	snprintf(row->id, sizeof(row->id), "%s", s->id);
	text_escape(row->cell[COL_ID], CELL, s->id, strlen(s->id));
	if (h->pid > 0)
		snprintf(row->cell[COL_PID], CELL, "%d", h->pid);
	else
		snprintf(row->cell[COL_PID], CELL, "-");
	snprintf(row->cell[COL_RESTARTS], CELL, "%u/%llu", h->run, (unsigned long long)h->restarts);
	if (row->created)
		age_since(age, sizeof(age), row->created, now_real());
	snprintf(row->cell[COL_CREATED], CELL, "%s%s", age, row->created ? " ago" : "");
	spec_command(s->dirfd, row->cell[COL_COMMAND], 48);
	spec_command(s->dirfd, row->command, sizeof(row->command));
}

/* A container that can't be read is a row that says so, not an end of the list. true: it belongs
 * into the short list. */
static bool look(struct row *row, const struct state *s)
{
	char *cell = row->cell[COL_STATE];
	bool stale = false, listed;
	int r;

	history_init(&row->now);
	r = state_history(s, &row->now, &stale);
	if (r < 0) {
		snprintf(cell, CELL, "Damaged (%.80s)", fault_text());
		row->state = "damaged";
		describe(row, s);
		return true;
	}
	row->supervised = state_supervised(s) > 0;
	row->state = word_of(&row->now, stale, row->supervised);
	if (stale || row->now.state == LIFE_DOWN)
		row->now.pid = row->now.init_pid = 0;
	describe(row, s);
	listed = describe_state(cell, &row->now, stale, row->supervised,
		faccessat(s->dirfd, "enabled", F_OK, AT_SYMLINK_NOFOLLOW) == 0);
	describe_health(row, s);
	return listed;
}

static int add(struct ps *ps, const char *id)
{
	struct row *grown = realloc(ps->rows, (ps->len + 1) * sizeof(*grown));
	struct row *row;
	struct state s;
	bool listed;

	if (!grown)
		return fault(-ENOMEM, "list");
	ps->rows = grown;
	if (state_open(id, &s) < 0)
		return 0; /* removed since it was listed */
	row = &grown[ps->len];
	memset(row, 0, sizeof(*row));
	listed = look(row, &s) || ps->all || ps_filter_ended(&ps->filter);
	ps->len += listed &&
		   ps_filter_fits(&ps->filter,
			   &(struct ps_known){.state = &s,
				   .now = &row->now,
				   .name_of_state = row->state,
				   .health = row->has_health ? row->health.verdict : HEALTH_NONE});
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

static void json_row(const struct row *row)
{
	const struct history *h = &row->now;
	Holdfast__V1__Exit e;
	bool first = true;

	putchar('{');
	json_name(&first, "id");
	json_text(row->id);
	json_name(&first, "state");
	json_text(row->state);
	json_name(&first, "status");
	json_text(row->cell[COL_STATE]);
	json_name(&first, "supervised");
	printf("%s", row->supervised ? "true" : "false");
	json_name(&first, "health");
	json_text(health_verdict_name(row->has_health ? row->health.verdict : HEALTH_NONE));
	json_name(&first, "ready");
	printf("%s", row->now.state == LIFE_RUNNING && row->supervised &&
				     (!row->has_health || row->health.ready)
			     ? "true"
			     : "false");
	json_name(&first, "run");
	printf("%u", h->run);
	json_name(&first, "restarts");
	printf("%" PRIu64, h->restarts);
	json_name(&first, "pid");
	printf("%d", h->pid);
	json_name(&first, "init_pid");
	printf("%d", h->init_pid);
	json_name(&first, "created_time_usec");
	printf("%" PRIu64, row->created);
	json_name(&first, "started_time_usec");
	printf("%" PRIu64, h->real_started);
	json_name(&first, "command");
	json_text(row->command);
	if (h->last.run) {
		json_name(&first, "last_exit");
		event_exit(&e, &h->last);
		json_message(&e.base);
	}
	putchar('}');
}

static int print_json(const struct ps *ps)
{
	putchar('[');
	for (size_t i = 0; i < ps->len; i++) {
		fputs(i ? ",\n " : "", stdout);
		json_row(&ps->rows[i]);
	}
	fputs("]\n", stdout);
	return 0;
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
		r = ps.json && !ps.quiet ? print_json(&ps) : print(&ps);
	free(ps.rows);
	ps_filter_finish(&ps.filter);
	if (r == 0)
		return CLI_OK;
	complain("%s", fault_text());
	return CLI_FAILED;
}
