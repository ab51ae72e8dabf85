/* holdfast inspect: everything about a container, alive or ended. From its files, which are there
 * whoever is alive; a supervisor is asked for nothing but the pids that only it knows. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/inspect_line.h"
#include "cli/inspect_rules.h"
#include "cli/json.h"
#include "cli/options.h"
#include "cli/spec_show.h"
#include "cli/state.h"
#include "cli/text.h"
#include "cli/when.h"
#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/mem.h"
#include "ipc/base/sig.h"
#include "ipc/cghier.h"
#include "ipc/event_msg.h"
#include "ipc/exit_text.h"
#include "ipc/health_msg.h"
#include "ipc/lib/holdfast.h"
#include "ipc/post_mortem_msg.h"

#define ANSWER_USEC (5 * USEC_PER_SEC)

struct inspect {
	bool json;
	bool first; /* of the JSON array */
};

/* One container, as found. */
struct found {
	const struct state *state;
	struct settings settings;
	struct history now;
	bool stale, supervised;
	struct health_conf probes;
	struct health_state health;
	bool has_probes, has_health;
	struct holdfast_state live; /* zero: nobody answered */
	struct post_mortem_full ends[POST_MORTEM_SLOTS];
	int ends_len;
	struct rules_past rules;
};

static const struct option rows[] = {
	{"json", 0, NULL, "a JSON array of objects", option_flag, offsetof(struct inspect, json)}};

static const struct option_table table = {
	.usage = "holdfast inspect [--json] ID...",
	.about =
		"Shows everything about containers: state, settings, and how the newest runs ended.",
	.rows = rows,
	.len = array_size(rows),
	.mixed = true,
};

/* Finding -------------------------------------------------------------------------------------- */

static void ask(struct found *f)
{
	struct holdfast *h;

	if (holdfast_open(state_root(), REALM, f->state->id, HOLDFAST_OBSERVE, &h) == 0) {
		holdfast_timeout(h, ANSWER_USEC);
		if (holdfast_get_state(h, &f->live) < 0)
			memset(&f->live, 0, sizeof(f->live));
	}
	holdfast_close(h);
}

static int find(struct found *f, const struct state *s)
{
	auto_fd logs = -1;
	int r;

	*f = (struct found){.state = s};
	history_init(&f->now);
	r = settings_read(s->dirfd, &f->settings);
	if (r == 0)
		r = state_history(s, &f->now, &f->stale);
	if (r < 0)
		return fault_plain(r, "%s: %s", s->id, fault_text());
	f->supervised = state_supervised(s) > 0;
	if (f->supervised)
		ask(f);
	f->has_health = health_state_read(s->dirfd, &f->health) == 0;
	f->has_probes = f->has_health && health_read(s->dirfd, &f->probes) == 0;
	logs = open(f->settings.log_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->ends_len =
		post_mortem_list(s->dirfd, logs, f->supervised, 0, f->ends, POST_MORTEM_SLOTS);
	return f->ends_len < 0 ? f->ends_len : rules_past_read(s->dirfd, &f->rules);
}

static int32_t service_pid(const struct found *f)
{
	return f->live.phase ? f->live.pid : f->stale ? 0 : f->now.pid;
}

static int32_t init_pid(const struct found *f)
{
	return f->live.phase ? f->live.init_pid : f->stale ? 0 : f->now.init_pid;
}

static bool is_running(const struct found *f)
{
	return f->supervised && !f->stale && f->now.state == LIFE_RUNNING;
}

static const char *const kinds[] = {"no", "on-failure", "always", "unless-stopped"};
static const char *const modes[] = {"auto", "in-place", "fresh"};
static const char *const ooms[] = {"continue", "stop", "restart"};

#define NAME(names, i) ((i) < array_size(names) ? (names)[i] : "?")

/* For machines --------------------------------------------------------------------------------- */

static void json_state(const struct found *f)
{
	Holdfast__V1__GetStateResponse m;
	Holdfast__V1__Cursor cursor;
	Holdfast__V1__Exit last;
	struct health_msg health;

	holdfast__v1__get_state_response__init(&m);
	holdfast__v1__cursor__init(&cursor);
	m.id = (char *)(uintptr_t)f->state->id;
	m.phase = f->live.phase ? (Holdfast__V1__Phase)f->live.phase : event_phase(f->now.state);
	m.run = f->now.run;
	m.paused = f->now.paused;
	m.pid = service_pid(f);
	m.init_pid = init_pid(f);
	m.shim_pid = f->live.shim_pid;
	m.keeper_pid = f->live.keeper_pid;
	m.restarts = f->live.phase ? f->live.restarts : f->now.restarts;
	m.shim_revivals = f->now.shim_revivals;
	m.created_time_usec = f->settings.real_created;
	m.started_time_usec = f->now.real_started;
	m.started_boottime_usec = f->now.boot_started;
	m.cgroup = (char *)(uintptr_t)f->settings.cgroup;
	health_to_msg(&health, &m, f->has_probes ? &f->probes : NULL,
		f->has_health ? &f->health : NULL, is_running(f));
	cursor.instance = f->settings.real_created;
	cursor.sequence = f->now.seq;
	m.cursor = &cursor;
	if (f->now.last.run) {
		event_exit(&last, &f->now.last);
		m.last_exit = &last;
	}
	json_message(&m.base);
}

/* A field that the host could not tell is not there. */
static bool told(const void *ctx, const char *field)
{
	static const struct {
		const char *prefix;
		uint32_t bits;
	} needs[] = {
		{"memory_peak", POST_MORTEM_PEAK},
		{"memory_current", 1u << 31},
		{"memory_high", POST_MORTEM_EVENTS},
		{"memory_max", POST_MORTEM_EVENTS},
		{"memory_oom_kill", POST_MORTEM_OOM_KILL},
		{"memory_oom", POST_MORTEM_EVENTS},
		{"memory_some", POST_MORTEM_PRESSURE},
		{"memory_full", POST_MORTEM_PRESSURE},
		{"cpu_throttled", POST_MORTEM_THROTTLED},
		{"last_output", POST_MORTEM_TAIL},
	};
	const struct post_mortem_full *p = ctx;
	uint32_t has = p->head.has | p->head.grown.has;

	for (size_t i = 0; i < array_size(needs); i++)
		if (strncmp(field, needs[i].prefix, strlen(needs[i].prefix)) == 0)
			return has & needs[i].bits;
	return true;
}

static void json_ends(const struct found *f)
{
	struct post_mortem_msg m;

	putchar('[');
	for (int i = 0; i < f->ends_len; i++) {
		bool first = true;

		post_mortem_to_msg(&m, &f->ends[i]);
		fputs(i ? ", {" : "{", stdout);
		json_fields(&first, &m.record.base, told, &f->ends[i]);
		putchar('}');
	}
	putchar(']');
}

static void json_number(bool *first, const char *name, uint64_t value)
{
	json_name(first, name);
	printf("%" PRIu64, value);
}

static void json_string(bool *first, const char *name, const char *value)
{
	json_name(first, name);
	json_text(value);
}

static void json_settings(const struct settings *s)
{
	const struct policy_conf *p = &s->policy;
	bool first = true;

	putchar('{');
	json_string(&first, "restart", NAME(kinds, p->kind));
	json_string(&first, "restart_mode", NAME(modes, p->mode));
	json_number(&first, "restart_delay_usec", p->delay_usec);
	json_number(&first, "restart_max_delay_usec", p->max_delay_usec);
	json_number(&first, "restart_budget", p->budget_n);
	json_number(&first, "restart_budget_window_usec", p->budget_window_usec);
	json_string(&first, "oom_policy", NAME(ooms, p->oom));
	json_string(&first, "stop_signal", sig_name((int)s->stop_signal));
	json_number(&first, "stop_grace_usec", s->stop_grace_usec);
	json_name(&first, "init");
	fputs(s->flags & SETTINGS_NO_INIT ? "false" : "true", stdout);
	json_name(&first, "terminal");
	fputs(s->flags & SETTINGS_TTY ? "true" : "false", stdout);
	json_name(&first, "auto_remove");
	fputs(s->flags & SETTINGS_AUTO_REMOVE ? "true" : "false", stdout);
	json_string(&first, "bundle", s->bundle);
	json_string(&first, "log_dir", s->log_dir);
	json_number(&first, "log_max_bytes", s->log_max_bytes);
	json_number(&first, "log_max_files", s->log_max_files);
	putchar('}');
}

struct groups {
	const char *path;
	bool json, first;
};

static int show_group(void *ctx, const char *root, bool v2)
{
	struct groups *g = ctx;
	char path[600];

	snprintf(path, sizeof(path), "%s%s", root, g->path);
	if (access(path, F_OK) < 0)
		return 0;
	if (!g->json) {
		inspect_line(g->first ? "cgroups" : "", "%s", path);
	} else {
		fputs(g->first ? "" : ", ", stdout);
		json_text(path);
	}
	g->first = false;
	return 0;
}

static void show_groups(const struct found *f, bool json)
{
	struct groups g = {.path = f->settings.cgroup, .json = json, .first = true};
	struct cghier hier;

	if (cghier_find(&hier) == 0)
		cghier_each(&hier, show_group, &g);
}

static void print_json(const struct found *f)
{
	bool first = true;

	putchar('{');
	json_string(&first, "id", f->state->id);
	json_name(&first, "supervised");
	fputs(f->supervised ? "true" : "false", stdout);
	json_name(&first, "host_restarted");
	fputs(f->stale ? "true" : "false", stdout);
	json_name(&first, "state");
	json_state(f);
	json_name(&first, "settings");
	json_settings(&f->settings);
	json_name(&first, "rules");
	rules_past_json(&f->rules);
	json_name(&first, "cgroups");
	putchar('[');
	show_groups(f, true);
	putchar(']');
	json_name(&first, "post_mortem");
	json_ends(f);
	json_name(&first, "config");
	spec_show_json(f->state->dirfd);
	putchar('}');
}

/* For people ----------------------------------------------------------------------------------- */

static void text_state(const struct found *f)
{
	const char *state = f->live.phase			    ? life_name(f->now.state)
			    : f->stale && f->now.state != LIFE_DOWN ? "lost (the host restarted)"
								    : life_name(f->now.state);
	uint64_t now = now_boot();
	char age[32], when[WHEN_TEXT];

	text_age(age, sizeof(age), now > f->now.boot_started ? now - f->now.boot_started : 0);
	inspect_line("state", "%s%s%s%s%s", state,
		f->now.state == LIFE_RUNNING && !f->stale ? " since " : "",
		f->now.state == LIFE_RUNNING && !f->stale ? age : "",
		f->now.paused && !f->stale ? ", paused" : "",
		f->supervised || f->stale || f->now.state == LIFE_DOWN || f->now.state == LIFE_NEW
			? ""
			: ", nobody supervises it");
	when_text(when, f->settings.real_created);
	inspect_line("created", "%s", when);
	inspect_line("runs", "%u, %" PRIu64 " restarts", f->now.run,
		f->live.phase ? f->live.restarts : f->now.restarts);
	if (service_pid(f))
		inspect_line("pid", "%d, process 1 is %d", service_pid(f), init_pid(f));
	if (f->live.shim_pid)
		inspect_line("supervisors", "shim %d, keeper %d, shim replaced %u times",
			f->live.shim_pid, f->live.keeper_pid, f->now.shim_revivals);
	inspect_line("cursor", "%" PRIu64 ":%" PRIu64, f->settings.real_created, f->now.seq);
}

static void text_probe(const struct probe_conf *conf, const struct probe_state *st)
{
	char target[PROBE_WORDS + 96], took[32];

	probe_target(conf, target, sizeof(target));
	exit_duration(took, sizeof(took), st->took_usec);
	inspect_line("", "%s %s: %s, %" PRIu64 " passed, %" PRIu64 " failed, %s%s%s",
		probe_kind_name(conf->kind), target, probe_standing_name(st->standing), st->passed,
		st->failed, took, st->why[0] ? "; last failure: " : "", st->why);
}

static void text_health(const struct found *f)
{
	const struct health_state *st = &f->health;
	char most[32];

	if (!f->has_health)
		return;
	if (st->said || st->status[0])
		inspect_line("service", "%s%s%s", service_said_name(st->said),
			st->said && st->status[0] ? ": " : "", st->status);
	if (is_running(f))
		inspect_line("health", "%s, %s", health_verdict_name(st->verdict),
			st->ready ? "ready" : "not ready");
	for (uint32_t i = 0; f->has_probes && i < f->probes.count; i++)
		text_probe(&f->probes.probes[i], &st->probes[i]);
	exit_duration(most, sizeof(most), st->watchdog_usec);
	if (st->watchdog_usec)
		inspect_line("watchdog", "%s, missed %" PRIu64 " times", most, st->missed);
}

static void text_settings(const struct settings *s)
{
	const struct policy_conf *p = &s->policy;
	char delay[32], most[32], grace[32], bytes[32];

	exit_duration(delay, sizeof(delay), p->delay_usec);
	exit_duration(most, sizeof(most), p->max_delay_usec);
	exit_duration(grace, sizeof(grace), s->stop_grace_usec);
	inspect_bytes(bytes, sizeof(bytes), s->log_max_bytes);
	if (p->kind == RESTART_NO)
		inspect_line("restart", "no");
	else
		inspect_line("restart", "%s, %s, after %s growing to %s", NAME(kinds, p->kind),
			NAME(modes, p->mode), delay, most);
	inspect_line("oom policy", "%s", NAME(ooms, p->oom));
	inspect_line("stop", "%s, killed after %s", sig_name((int)s->stop_signal), grace);
	inspect_line(
		"output", "%s, %u files of %s per stream", s->log_dir, s->log_max_files, bytes);
}

static void text_counters(const struct post_mortem *p)
{
	const struct counters *g = &p->grown;
	char some[32], full[32], bytes[32], user[32], system[32];

	exit_duration(user, sizeof(user), p->exit.utime_usec);
	exit_duration(system, sizeof(system), p->exit.stime_usec);
	inspect_line("", "cpu %s user, %s system", user, system);
	if (p->has & POST_MORTEM_PEAK) {
		inspect_bytes(bytes, sizeof(bytes), p->memory_peak);
		inspect_line("", "memory peak %s", bytes);
	}
	if (g->has & POST_MORTEM_OOM_KILL)
		inspect_line("", "OOM kills %" PRIu64, g->memory_oom_kill);
	if (g->has & POST_MORTEM_EVENTS)
		inspect_line("", "memory events high %" PRIu64 ", max %" PRIu64 ", oom %" PRIu64,
			g->memory_high, g->memory_max, g->memory_oom);
	if (g->has & POST_MORTEM_PRESSURE) {
		exit_duration(some, sizeof(some), g->memory_some_usec);
		exit_duration(full, sizeof(full), g->memory_full_usec);
		inspect_line("", "memory pressure some %s, full %s", some, full);
	}
}

/* The last lines, each by itself. */
static void text_output(const struct post_mortem_full *p)
{
	const char *at = p->output, *end = p->output + p->head.output_len;
	const char *key = "last output";

	while (at < end) {
		const char *eol = memchr(at, '\n', (size_t)(end - at));
		size_t len = (size_t)((eol ? eol : end) - at);

		inspect_raw(key, at, len);
		key = "";
		at += len + 1;
	}
}

static void text_end(const struct post_mortem_full *p, bool newest)
{
	char when[WHEN_TEXT], then[128];
	Holdfast__V1__Exit e;

	event_exit(&e, &p->head.exit);
	exit_then(then, sizeof(then), &e);
	when_text(when, p->head.exit.real_end);
	inspect_line(newest ? "last ends" : "", "run %u %s %s%s%s; %s", p->head.exit.run, when,
		p->head.cause, p->head.by[0] ? ", by " : "", p->head.by, then);
	if (!newest)
		return;
	text_counters(&p->head);
	text_output(p);
}

static void print_text(const struct found *f)
{
	printf("%s\n", f->state->id);
	text_state(f);
	text_health(f);
	spec_show_text(f->state->dirfd);
	text_settings(&f->settings);
	rules_past_text(&f->rules);
	show_groups(f, false);
	for (int i = 0; i < f->ends_len; i++)
		text_end(&f->ends[i], i == 0);
}

static int one(struct inspect *inspect, const char *name)
{
	static struct found f; /* too large for the stack */
	struct state s;
	int r = state_find(name, &s);

	if (r == 0)
		r = find(&f, &s);
	if (r == 0 && inspect->json) {
		fputs(inspect->first ? "" : ",\n", stdout);
		inspect->first = false;
		print_json(&f);
	} else if (r == 0) {
		print_text(&f);
	}
	state_close(&s);
	return r;
}

int command_inspect(int argc, char **argv)
{
	struct inspect inspect = {.first = true};
	int first, r = options_parse(&table, &inspect, argc, argv, &first), status = CLI_OK;

	if (r == OPTIONS_HELP)
		return CLI_OK;
	if (r == OPTIONS_OK && first >= argc)
		r = fault_plain(-EINVAL, "inspect: which container? (%s)", table.usage);
	if (r < 0) {
		complain("%s", fault_text());
		return CLI_USAGE;
	}
	fputs(inspect.json ? "[" : "", stdout);
	for (int i = first; i < argc; i++) {
		r = one(&inspect, argv[i]);
		if (r < 0) {
			complain("%s", fault_text());
			status = state_status(r);
		}
	}
	fputs(inspect.json ? "]\n" : "", stdout);
	return status;
}
