#include "monitor/signals.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ipc/base/clock.h"

#define WINDOW_STD  (2 * USEC_PER_SEC)
#define WINDOW_LONG (10 * USEC_PER_SEC)

static const struct signal_info infos[SIGNALS] = {
	[SIGNAL_MEMORY_PRESSURE_SOME] = {"memory.pressure.some", KIND_SHARE, INPUT_MEMORY_SOME, 0,
		WINDOW_STD},
	[SIGNAL_MEMORY_PRESSURE_FULL] = {"memory.pressure.full", KIND_SHARE, INPUT_MEMORY_FULL, 0,
		WINDOW_STD},
	[SIGNAL_CPU_PRESSURE_SOME] = {"cpu.pressure.some", KIND_SHARE, INPUT_CPU_SOME, 0,
		WINDOW_STD},
	[SIGNAL_CPU_PRESSURE_FULL] = {"cpu.pressure.full", KIND_SHARE, INPUT_CPU_FULL, 0,
		WINDOW_STD},
	[SIGNAL_IO_PRESSURE_SOME] = {"io.pressure.some", KIND_SHARE, INPUT_IO_SOME, 0, WINDOW_STD},
	[SIGNAL_IO_PRESSURE_FULL] = {"io.pressure.full", KIND_SHARE, INPUT_IO_FULL, 0, WINDOW_STD},
	[SIGNAL_MEMORY_EVENTS_HIGH] = {"memory.events.high", KIND_COUNT, INPUT_EVENTS_HIGH, 0,
		WINDOW_LONG},
	[SIGNAL_MEMORY_EVENTS_MAX] = {"memory.events.max", KIND_COUNT, INPUT_EVENTS_MAX, 0,
		WINDOW_LONG},
	[SIGNAL_MEMORY_EVENTS_OOM] = {"memory.events.oom", KIND_COUNT, INPUT_EVENTS_OOM, 0,
		WINDOW_LONG},
	[SIGNAL_MEMORY_EVENTS_OOM_KILL] = {"memory.events.oom_kill", KIND_COUNT,
		INPUT_EVENTS_OOM_KILL, 0, WINDOW_LONG},
	[SIGNAL_MEMORY_USAGE] = {"memory.usage", KIND_LEVEL, INPUT_MEMORY_USAGE, 0, 0},
	[SIGNAL_MEMORY_WORKING_SET] = {"memory.working-set", KIND_LEVEL, INPUT_WORKING_SET, 0, 0},
	[SIGNAL_MEMORY_UNRECLAIMABLE] = {"memory.unreclaimable", KIND_LEVEL, INPUT_UNRECLAIMABLE, 0,
		0},
	[SIGNAL_MEMORY_RECLAIM] = {"memory.reclaim", KIND_GATED, INPUT_MEMORY_USAGE, INPUT_RECLAIM,
		WINDOW_STD},
	[SIGNAL_PIDS_MAX] = {"pids.max", KIND_COUNT, INPUT_PIDS_MAX, 0, WINDOW_STD},
	[SIGNAL_CPU_THROTTLED] = {"cpu.throttled", KIND_RATIO, INPUT_THROTTLED, INPUT_PERIODS,
		WINDOW_STD},
	[SIGNAL_OUTPUT] = {"output", KIND_RATE, INPUT_OUTPUT, 0, WINDOW_STD},
	[SIGNAL_HEALTH] = {"health.failing", KIND_FLAG, INPUT_HEALTH, 0, 0},
	[SIGNAL_WATCHDOG] = {"watchdog.missed", KIND_COUNT, INPUT_WATCHDOG, 0, WINDOW_LONG},
};

const struct signal_info *signal_info(enum rule_signal s)
{
	return (unsigned)s < SIGNALS && infos[s].name ? &infos[s] : NULL;
}

enum rule_signal signal_find(const char *name, size_t len)
{
	for (unsigned s = 1; s < SIGNALS; s++)
		if (strlen(infos[s].name) == len && strncmp(infos[s].name, name, len) == 0)
			return (enum rule_signal)s;
	return (enum rule_signal)0;
}

bool signal_is_percent(enum rule_signal s)
{
	enum signal_kind kind = infos[s].kind;

	return kind == KIND_SHARE || kind == KIND_RATIO || kind == KIND_LEVEL || kind == KIND_GATED;
}

bool signal_is_pressure(enum rule_signal s)
{
	return s >= SIGNAL_MEMORY_PRESSURE_SOME && s <= SIGNAL_IO_PRESSURE_FULL;
}

static void bytes_text(char *buf, size_t size, uint64_t n)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB"};
	double value = (double)n;
	unsigned u = 0;

	while (value >= 1024 && u < 3) {
		value /= 1024;
		u++;
	}
	snprintf(buf, size, "%.1f %s/s", value, units[u]);
}

void signal_value_text(char *buf, size_t size, enum rule_signal s, uint64_t value)
{
	if (infos[s].kind == KIND_RATE)
		bytes_text(buf, size, value);
	else if (!signal_is_percent(s))
		snprintf(buf, size, "%" PRIu64, value);
	else if (value % 100)
		snprintf(buf, size, "%" PRIu64 ".%02" PRIu64 "%%", value / 100, value % 100);
	else
		snprintf(buf, size, "%" PRIu64 "%%", value / 100);
}

/* Windows -------------------------------------------------------------------------------------- */

/* The newest entry that is at least a window old, else the oldest. Entries older than that one are
 * forgotten by being written over. */
static unsigned begin_of(const struct window *w, uint64_t from)
{
	unsigned oldest = (w->next + WINDOW_SLOTS - w->len) % WINDOW_SLOTS, best = oldest;

	for (unsigned i = 0; i < w->len; i++) {
		unsigned at = (oldest + i) % WINDOW_SLOTS;

		if (w->slot[at].at > from)
			break;
		best = at;
	}
	return best;
}

/* Spaced so that the slots span the window, whatever the pace of samples. */
static void push(struct window *w, uint64_t usec, uint64_t now, uint64_t total, uint64_t second)
{
	unsigned newest = (w->next + WINDOW_SLOTS - 1) % WINDOW_SLOTS;

	if (w->len && now - w->slot[newest].at < usec / (WINDOW_SLOTS - 2))
		return;
	w->slot[w->next].at = now;
	w->slot[w->next].total = total;
	w->slot[w->next].second = second;
	w->next = (w->next + 1) % WINDOW_SLOTS;
	w->len += w->len < WINDOW_SLOTS;
}

static uint64_t grown(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0; /* a group made anew counts from 0 */
}

static uint64_t share(uint64_t part, uint64_t whole)
{
	if (!whole)
		return 0;
	return part >= whole ? SIGNAL_WHOLE
			     : (uint64_t)((unsigned __int128)part * SIGNAL_WHOLE / whole);
}

static uint64_t over_window(const struct signal_info *i, uint64_t window, uint64_t spent,
	uint64_t total, uint64_t second)
{
	uint64_t span = spent > window ? spent : window;

	switch (i->kind) {
	case KIND_SHARE:
		return share(total, span);
	case KIND_RATIO:
		return share(total, second);
	case KIND_RATE:
		return (uint64_t)((unsigned __int128)total * USEC_PER_SEC / span);
	case KIND_COUNT:
	case KIND_LEVEL:
	case KIND_GATED:
	case KIND_FLAG:
		break;
	}
	return total;
}

static bool has(const struct sample *in, enum rule_input i)
{
	return in->has >> i & 1;
}

static bool needs_second(enum signal_kind k)
{
	return k == KIND_RATIO || k == KIND_GATED;
}

bool window_value(struct window *w, enum rule_signal s, uint64_t window_usec,
	const struct sample *in, uint64_t now, uint64_t *ret)
{
	const struct signal_info *i = &infos[s];
	uint64_t total, second, from = now > window_usec ? now - window_usec : 0;
	unsigned at;

	if (!has(in, i->input) || (needs_second(i->kind) && !has(in, i->second)))
		return false;
	*ret = total = in->in[i->input];
	if (i->kind == KIND_LEVEL || i->kind == KIND_FLAG)
		return true;
	second = needs_second(i->kind) ? in->in[i->second] : 0;
	push(w, window_usec, now, total, second);
	at = begin_of(w, from);
	if (i->kind == KIND_GATED)
		*ret = grown(second, w->slot[at].second) ? total : 0;
	else
		*ret = over_window(i, window_usec ? window_usec : 1, now - w->slot[at].at,
			grown(total, w->slot[at].total), grown(second, w->slot[at].second));
	return true;
}
