/* holdfast top: all containers, live. One loop over keys, signals and a timer; what is shown is
 * computed from the newest look (cli/sample.h) each time. Signals come through a signalfd, so every
 * way out leads through the one that gives the terminal back. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/figures.h"
#include "cli/options.h"
#include "cli/sample.h"
#include "cli/screen.h"
#include "cli/text.h"
#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/mem.h"

#define FIRST_USEC   (200 * USEC_PER_MSEC) /* a rate needs two looks */
#define INTERVAL_MIN (100 * USEC_PER_MSEC)
#define INTERVAL_MAX (3600 * USEC_PER_SEC)
#define LINE	     400
#define CELL	     48
#define HEAD_ROWS    2
#define FOOT_ROWS    1
#define FULL_ALARM   1000 /* hundredths of a percent of full stall that colour a row */

enum sort { SORT_CPU, SORT_MEMORY, SORT_PRESSURE, SORT_PIDS, SORT_RESTARTS, SORT_ID, SORTS };

struct top {
	uint64_t interval_usec;
	bool all;

	enum sort sort;
	bool reverse;
	size_t at; /* first row shown */
	struct samples samples;
	struct sample **order; /* owned; the rows that are shown, sorted */
	size_t shown;
	struct picture picture;
	bool utf8, colour;
	int signals;
};

static const struct {
	const char *name;
	char key;
} sorts[SORTS] = {{"cpu", 'c'}, {"memory", 'm'}, {"pressure", 'p'}, {"pids", 't'},
	{"restarts", 'r'}, {"id", 'i'}};

static int set_interval(void *ctx, const struct option *o, const char *value)
{
	struct top *t = ctx;
	int r = option_duration(ctx, o, value);

	if (r == 0 && (t->interval_usec < INTERVAL_MIN || t->interval_usec > INTERVAL_MAX))
		return option_bad(o, value, "use 100ms to 1h");
	return r;
}

static int set_sort(void *ctx, const struct option *o, const char *value)
{
	struct top *t = ctx;

	for (unsigned i = 0; i < SORTS; i++)
		if (strcmp(value, sorts[i].name) == 0) {
			t->sort = i;
			return 0;
		}
	return option_bad(o, value, "use cpu, memory, pressure, pids, restarts or id");
}

static const struct option rows[] = {
	{"all", 'a', NULL, "also those that have ended", option_flag, offsetof(struct top, all)},
	{"interval", 'i', "TIME", "between two looks (1s)", set_interval,
		offsetof(struct top, interval_usec)},
	{"sort", 's', "KEY", "cpu, memory, pressure, pids, restarts, id", set_sort, 0},
};

static const struct option_table table = {
	.usage = "holdfast top [options]",
	.about =
		"Shows all containers, live. Where standard output is no terminal: once, as text.\n"
		"Keys: c m p t r i sort by CPU, memory, pressure, tasks, restarts, id; R turns the\n"
		"order; a shows ended ones; arrows, Page Up and Down, Home, End scroll; q leaves.",
	.rows = rows,
	.len = array_size(rows),
	.mixed = true,
};

/* Order ---------------------------------------------------------------------------------------- */

static double weight(const struct sample *r, enum sort by)
{
	enum cgstat_field some = cgstat_pressure(PRESSURE_MEMORY, PRESSURE_SOME, PRESSURE_AVG10);
	double sum = 0;

	switch (by) {
	case SORT_CPU:
		return sample_cpu(r);
	case SORT_MEMORY:
		return (double)r->now.value[CGSTAT_MEM_CURRENT];
	case SORT_PRESSURE:
		for (unsigned i = 0; i < PRESSURE_RESOURCES; i++)
			sum += r->trend[i][SAMPLE_TREND - 1];
		return sum + (double)r->now.value[some] / 1e6;
	case SORT_PIDS:
		return (double)r->now.value[CGSTAT_PIDS_CURRENT];
	case SORT_RESTARTS:
		return (double)r->h.restarts;
	case SORT_ID:
	case SORTS:
	default:
		return 0;
	}
}

static const struct top *sorting; /* qsort hands nothing on */

static int compare(const void *a, const void *b)
{
	const struct sample *x = *(struct sample *const *)a, *y = *(struct sample *const *)b;
	double d = weight(y, sorting->sort) - weight(x, sorting->sort);
	int r = d > 0 ? 1 : d < 0 ? -1 : strcmp(x->dir.id, y->dir.id);

	return sorting->reverse ? -r : r;
}

static int arrange(struct top *t)
{
	struct sample **grown = realloc(t->order, (t->samples.len + 1) * sizeof(*grown));

	if (!grown)
		return fault(-ENOMEM, "table");
	t->order = grown;
	t->shown = 0;
	for (size_t i = 0; i < t->samples.len; i++)
		if (t->all || sample_alive(t->samples.rows[i]))
			t->order[t->shown++] = t->samples.rows[i];
	sorting = t;
	if (t->shown)
		qsort(t->order, t->shown, sizeof(*t->order), compare);
	return 0;
}

/* Rows ----------------------------------------------------------------------------------------- */

/* Eight heights; small shares are what matters, so the scale is not straight. */
static void sparkline(char *dst, size_t size, const uint16_t *trend, bool utf8)
{
	static const uint16_t from[] = {1, 10, 30, 70, 150, 300, 600, 900}; /* thousandths */
	static const char ascii[] = " .:-=+*#@";
	size_t at = 0;

	for (unsigned i = 0; i < SAMPLE_TREND && at + 4 < size; i++) {
		unsigned height = 0;

		while (height < array_size(from) && trend[i] >= from[height])
			height++;
		if (!utf8 || height == 0)
			dst[at++] = ascii[height];
		else /* U+2581 to U+2588 */
			at += (size_t)snprintf(dst + at, size - at, "\xe2\x96%c", 0x80 + height);
	}
	dst[at] = '\0';
}

static void pressure_cell(char *dst, size_t size, const struct top *t, const struct sample *r,
	enum cgstat_resource what)
{
	const uint64_t *v = r->now.value;
	char trend[SAMPLE_TREND * 3 + 1];

	if (!cgstat_has(&r->now, cgstat_pressure(what, PRESSURE_SOME, PRESSURE_TOTAL))) {
		snprintf(dst, size, "%5s %5s %*s", "-", "-", SAMPLE_TREND, "");
		return;
	}
	sparkline(trend, sizeof(trend), r->trend[what], t->utf8);
	snprintf(dst, size, "%5.1f %5.1f %s",
		(double)v[cgstat_pressure(what, PRESSURE_SOME, PRESSURE_AVG10)] / 100,
		(double)v[cgstat_pressure(what, PRESSURE_FULL, PRESSURE_AVG10)] / 100, trend);
}

static void memory_cell(char *dst, size_t size, const struct cgstat *s)
{
	char used[16] = "-", limit[16] = "-";

	if (cgstat_has(s, CGSTAT_MEM_CURRENT))
		figure_bytes(used, sizeof(used), s->value[CGSTAT_MEM_CURRENT]);
	if (cgstat_has(s, CGSTAT_MEM_LIMIT))
		figure_bytes(limit, sizeof(limit), s->value[CGSTAT_MEM_LIMIT]);
	snprintf(dst, size, "%s/%s", used, limit);
}

static void exit_cell(char *dst, size_t size, const struct exit_info *e)
{
	if (e->run == 0)
		snprintf(dst, size, "-");
	else
		snprintf(dst, size, "%d%s%s", exit_status(e),
			e->flags & EXIT_OOM_SEEN ? " oom" : "",
			e->flags & EXIT_CORE ? " core" : "");
}

static void row(char *dst, size_t size, const struct top *t, const struct sample *r)
{
	char cpu[CELL] = "-", memory[CELL], pids[CELL] = "-", last[CELL], state[CELL];
	char pressure[PRESSURE_RESOURCES][CELL];

	if (sample_cpu(r) >= 0)
		snprintf(cpu, sizeof(cpu), "%.1f", sample_cpu(r));
	memory_cell(memory, sizeof(memory), &r->now);
	if (cgstat_has(&r->now, CGSTAT_PIDS_CURRENT))
		snprintf(pids, sizeof(pids), "%" PRIu64, r->now.value[CGSTAT_PIDS_CURRENT]);
	exit_cell(last, sizeof(last), &r->h.last);
	snprintf(state, sizeof(state), "%s%s", sample_word(r->state),
		r->h.rules_on && sample_alive(r) ? "!" : "");
	for (unsigned i = 0; i < PRESSURE_RESOURCES; i++)
		pressure_cell(pressure[i], CELL, t, r, i);
	snprintf(dst, size, "%-16.32s %-10s %6s %17s %5s %8" PRIu64 " %-7s %s %s %s", r->dir.id,
		state, cpu, memory, pids, r->h.restarts, last, pressure[PRESSURE_MEMORY],
		pressure[PRESSURE_CPU], pressure[PRESSURE_IO]);
}

static void head(char *dst, size_t size)
{
	snprintf(dst, size, "%-16s %-10s %6s %17s %5s %8s %-7s %-22s %-22s %s", "ID", "STATE",
		"CPU%", "MEMORY/LIMIT", "PIDS", "RESTARTS", "EXIT", "MEM some/full",
		"CPU some/full", "IO some/full");
}

static const char *style_of(const struct top *t, const struct sample *r)
{
	if (!t->colour)
		return NULL;
	for (unsigned i = 0; i < PRESSURE_RESOURCES; i++)
		if (r->now.value[cgstat_pressure(i, PRESSURE_FULL, PRESSURE_AVG10)] >= FULL_ALARM)
			return "31m"; /* red */
	if (r->state == SAMPLE_ORPHANED || r->state == SAMPLE_DAMAGED)
		return "31m";
	if (r->state == SAMPLE_RESTARTING || r->state == SAMPLE_PAUSED ||
		r->state == SAMPLE_UNREADY)
		return "33m"; /* yellow */
	return NULL;
}

/* The screen ----------------------------------------------------------------------------------- */

static size_t room(const struct top *t)
{
	return t->picture.rows > HEAD_ROWS + FOOT_ROWS ? t->picture.rows - HEAD_ROWS - FOOT_ROWS
						       : 1;
}

static void clamp(struct top *t)
{
	size_t most = t->shown > room(t) ? t->shown - room(t) : 0;

	if (t->at > most)
		t->at = most;
}

static void summary(char *dst, size_t size, const struct top *t)
{
	unsigned counts[SAMPLE_STATES] = {0};
	size_t at = (size_t)snprintf(dst, size, "holdfast top - %zu container%s", t->samples.len,
		t->samples.len == 1 ? "" : "s");

	for (size_t i = 0; i < t->samples.len; i++)
		counts[t->samples.rows[i]->state]++;
	for (unsigned i = 0; i < SAMPLE_STATES; i++)
		if (counts[i] && at < size)
			at += (size_t)snprintf(
				dst + at, size - at, ", %u %s", counts[i], sample_word(i));
	if (at < size)
		snprintf(dst + at, size - at, " - sorted by %s%s", sorts[t->sort].name,
			t->reverse ? ", reversed" : "");
}

static int draw(struct top *t)
{
	struct picture *p = &t->picture;
	char text[LINE];
	int r = arrange(t);

	if (r < 0)
		return r;
	picture_begin(p);
	clamp(t);
	summary(text, sizeof(text), t);
	picture_line(p, NULL, text);
	head(text, sizeof(text));
	picture_line(p, "7m", text); /* reverse: no colour, and seen on every terminal */
	for (size_t i = t->at; i < t->shown && p->row + FOOT_ROWS < p->rows; i++) {
		row(text, sizeof(text), t, t->order[i]);
		picture_line(p, style_of(t, t->order[i]), text);
	}
	while (p->row + FOOT_ROWS < p->rows)
		picture_line(p, NULL, "");
	snprintf(text, sizeof(text),
		"q leave  c/m/p/t/r/i sort  R turn  a %s ended  arrows scroll  %zu-%zu of %zu",
		t->all ? "hide" : "show", t->shown ? t->at + 1 : 0,
		t->at + room(t) < t->shown ? t->at + room(t) : t->shown, t->shown);
	picture_line(p, NULL, text);
	return picture_show(p);
}

enum key_outcome { KEY_STAY, KEY_LEAVE };

static void scroll(struct top *t, long by)
{
	if (by < 0 && (size_t)-by > t->at)
		t->at = 0;
	else
		t->at += (size_t)by;
	clamp(t);
}

static enum key_outcome key(struct top *t, int c)
{
	switch (c) {
	case 'q':
		return KEY_LEAVE;
	case 'R':
		t->reverse = !t->reverse;
		return KEY_STAY;
	case 'a':
		t->all = !t->all;
		return KEY_STAY;
	case KEY_UP:
	case 'k':
		scroll(t, -1);
		return KEY_STAY;
	case KEY_DOWN:
	case 'j':
		scroll(t, 1);
		return KEY_STAY;
	case KEY_PAGE_UP:
		scroll(t, -(long)room(t));
		return KEY_STAY;
	case KEY_PAGE_DOWN:
	case ' ':
		scroll(t, (long)room(t));
		return KEY_STAY;
	case KEY_HOME:
	case 'g':
		t->at = 0;
		return KEY_STAY;
	case KEY_END:
	case 'G':
		scroll(t, (long)t->shown);
		return KEY_STAY;
	default:
		for (unsigned i = 0; i < SORTS; i++)
			if (c == sorts[i].key)
				t->sort = i;
		return KEY_STAY;
	}
}

/* Ctrl-Z: the shell gets its terminal as it was, and fg brings ours back. */
static int suspend(void)
{
	screen_leave();
	raise(SIGSTOP);
	return screen_enter();
}

#define SIGNALLED 128

/* 0: go on; > 0: the status to leave with; or a fault. */
static int take_signal(struct top *t)
{
	struct signalfd_siginfo info;

	if (read(t->signals, &info, sizeof(info)) != sizeof(info))
		return 0;
	if (info.ssi_signo == SIGTSTP)
		return suspend();
	return info.ssi_signo == SIGWINCH ? 0 : SIGNALLED + (int)info.ssi_signo;
}

static int watch_signals(struct top *t)
{
	static const int wanted[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < array_size(wanted); i++)
		sigaddset(&set, wanted[i]);
	signal(SIGPIPE, SIG_IGN);
	t->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (t->signals < 0 || sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return fault(-errno, "signals");
	return 0;
}

/* Waits for a key, a signal or the time of the next look. 0, a status, or a fault; *left is set by
 * the key for it. */
static int wait_for(struct top *t, uint64_t until, bool *left)
{
	struct pollfd p[] = {
		{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = t->signals, .events = POLLIN}};
	uint64_t now = now_mono();
	int c, r = poll(p, array_size(p),
		       now < until ? (int)((until - now + 999) / USEC_PER_MSEC) : 0);

	if (r < 0)
		return errno == EINTR ? 0 : fault(-errno, "poll");
	if (p[1].revents)
		return take_signal(t);
	if (p[0].revents & POLLIN)
		while ((c = screen_key()) != KEY_NONE && !*left)
			*left = key(t, c) == KEY_LEAVE;
	else if (p[0].revents)
		*left = true; /* the terminal is gone */
	return 0;
}

static int live(struct top *t)
{
	uint64_t next = now_mono() + FIRST_USEC;
	bool left = false;
	int r = samples_take(&t->samples, NULL, 0);

	if (r == 0)
		r = watch_signals(t);
	if (r == 0)
		r = screen_enter();
	while (r == 0 && !left) {
		if (now_mono() >= next) {
			r = samples_take(&t->samples, NULL, 0);
			next = now_mono() + t->interval_usec;
		}
		if (r == 0)
			r = draw(t);
		if (r == 0)
			r = wait_for(t, next, &left);
	}
	screen_leave();
	return r;
}

static int plain(struct top *t)
{
	char text[LINE];
	int r = samples_take(&t->samples, NULL, 0);

	poll(NULL, 0, FIRST_USEC / USEC_PER_MSEC);
	if (r == 0)
		r = samples_take(&t->samples, NULL, 0);
	if (r == 0)
		r = arrange(t);
	if (r < 0)
		return r;
	t->utf8 = false;
	head(text, sizeof(text));
	for (size_t i = 0; i <= t->shown; i++) {
		size_t len = strlen(text);

		while (len && text[len - 1] == ' ')
			text[--len] = '\0';
		puts(text);
		if (i < t->shown)
			row(text, sizeof(text), t, t->order[i]);
	}
	return 0;
}

int command_top(int argc, char **argv)
{
	struct top t = {.interval_usec = USEC_PER_SEC, .signals = -1};
	int first, r = options_parse(&table, &t, argc, argv, &first);

	if (r == OPTIONS_HELP)
		return CLI_OK;
	if (r == OPTIONS_OK && first < argc)
		r = options_excess("top", argv[first]);
	if (r < 0) {
		complain("%s", fault_text());
		return CLI_USAGE;
	}
	t.utf8 = screen_utf8();
	t.colour = screen_colour();
	r = samples_open(&t.samples);
	if (r == 0)
		r = screen_possible() ? live(&t) : plain(&t);
	samples_close(&t.samples);
	picture_finish(&t.picture);
	free(t.order);
	fd_close(&t.signals);
	if (r >= 0)
		return r;
	complain("%s", fault_text());
	return CLI_FAILED;
}
