/* holdfast.v1.Supervisor, live figures: Stats and WatchStats. Nothing is sampled while nobody asks:
 * the timer runs only as long as a WatchStats call is under way, so an idle container wakes nobody.
 * A stream is told the newest figures, never old ones: who does not read misses samples, which its
 * time stamps show. */
#include <string.h>

#include "ipc/base/clock.h"
#include "ipc/base/mem.h"
#include "ipc/proto/holdfast/v1/supervisor.pb-c.h"
#include "monitor/cgstat.h"
#include "shim/shim.h"

#define SERVICE	     "holdfast.v1.Supervisor"
#define INTERVAL_MIN (100 * USEC_PER_MSEC)
#define INTERVAL_STD USEC_PER_SEC
#define INTERVAL_MAX (3600 * USEC_PER_SEC)
#define PERCENT	     100.0 /* of hundredths */

/* Where each figure goes. */
static const struct {
	enum cgstat_field field;
	size_t at;
} places[] = {
#define PLACE(field, name)                                         \
	{                                                          \
		field, offsetof(Holdfast__V1__StatsResponse, name) \
	}
	PLACE(CGSTAT_CPU_USAGE, cpu_usage_usec),
	PLACE(CGSTAT_CPU_USER, cpu_user_usec),
	PLACE(CGSTAT_CPU_SYSTEM, cpu_system_usec),
	PLACE(CGSTAT_CPU_THROTTLED, cpu_throttled_usec),
	PLACE(CGSTAT_CPU_THROTTLED_PERIODS, cpu_throttled_periods),
	PLACE(CGSTAT_CPU_LIMIT, cpu_limit_milli),
	PLACE(CGSTAT_MEM_CURRENT, memory_current_bytes),
	PLACE(CGSTAT_MEM_PEAK, memory_peak_bytes),
	PLACE(CGSTAT_MEM_LIMIT, memory_limit_bytes),
	PLACE(CGSTAT_MEM_HIGH, memory_high_bytes),
	PLACE(CGSTAT_MEM_SWAP, memory_swap_bytes),
	PLACE(CGSTAT_MEM_ANON, memory_anon_bytes),
	PLACE(CGSTAT_MEM_FILE, memory_file_bytes),
	PLACE(CGSTAT_MEM_KERNEL, memory_kernel_bytes),
	PLACE(CGSTAT_MEM_EVENTS_HIGH, memory_events_high),
	PLACE(CGSTAT_MEM_EVENTS_MAX, memory_events_max),
	PLACE(CGSTAT_MEM_EVENTS_OOM, memory_events_oom),
	PLACE(CGSTAT_MEM_EVENTS_OOM_KILL, memory_events_oom_kill),
	PLACE(CGSTAT_PIDS_CURRENT, pids_current),
	PLACE(CGSTAT_PIDS_LIMIT, pids_limit),
	PLACE(CGSTAT_PIDS_EVENTS_MAX, pids_events_max),
	PLACE(CGSTAT_IO_READ, io_read_bytes),
	PLACE(CGSTAT_IO_WRITE, io_write_bytes),
#undef PLACE
};

/* What stands for each word of `available`. */
static const struct {
	enum cgstat_field field;
	const char *word;
} words[] = {
	{CGSTAT_CPU_USAGE, "cpu"},
	{CGSTAT_MEM_CURRENT, "memory"},
	{CGSTAT_PIDS_CURRENT, "pids"},
	{CGSTAT_IO_READ, "io"},
	{CGSTAT_PRESSURE + PRESSURE_TOTAL, "pressure"},
};

/* The message and all that it points to. */
struct stats_msg {
	Holdfast__V1__StatsResponse m;
	Holdfast__V1__Pressure pressure[PRESSURE_RESOURCES];
	char *available[array_size(words)];
};

static Holdfast__V1__Pressure *pressure(
	Holdfast__V1__Pressure *ret, const struct cgstat *s, enum cgstat_resource r)
{
	const uint64_t *some = &s->value[cgstat_pressure(r, PRESSURE_SOME, PRESSURE_AVG10)];
	const uint64_t *full = &s->value[cgstat_pressure(r, PRESSURE_FULL, PRESSURE_AVG10)];

	if (!cgstat_has(s, cgstat_pressure(r, PRESSURE_SOME, PRESSURE_TOTAL)))
		return NULL;
	holdfast__v1__pressure__init(ret);
	ret->some_avg10 = (double)some[PRESSURE_AVG10] / PERCENT;
	ret->some_avg60 = (double)some[PRESSURE_AVG60] / PERCENT;
	ret->some_total_usec = some[PRESSURE_TOTAL];
	ret->full_avg10 = (double)full[PRESSURE_AVG10] / PERCENT;
	ret->full_avg60 = (double)full[PRESSURE_AVG60] / PERCENT;
	ret->full_total_usec = full[PRESSURE_TOTAL];
	return ret;
}

static void fill(struct stats_msg *ret, const struct cgstat *s)
{
	Holdfast__V1__StatsResponse *m = &ret->m;

	holdfast__v1__stats_response__init(m);
	m->time_usec = now_real();
	m->boottime_usec = now_boot();
	for (size_t i = 0; i < array_size(places); i++)
		memcpy((char *)m + places[i].at, &s->value[places[i].field], sizeof(uint64_t));
	m->cpu_pressure = pressure(&ret->pressure[0], s, PRESSURE_CPU);
	m->memory_pressure = pressure(&ret->pressure[1], s, PRESSURE_MEMORY);
	m->io_pressure = pressure(&ret->pressure[2], s, PRESSURE_IO);
	m->available = ret->available;
	for (size_t i = 0; i < array_size(words); i++)
		if (cgstat_has(s, words[i].field))
			ret->available[m->n_available++] = (char *)(uintptr_t)words[i].word;
}

/* The group's directories are those of the newest launch, opened when somebody asks. Between two
 * sandboxes there is no group, and no figure. */
static void sample(struct shim *s, struct stats_msg *ret)
{
	static struct cgstat_dirs dirs;
	static uint64_t nonce; /* of the launch whose group it is; 0: nothing is open */
	struct cgstat now;

	if (nonce && nonce != s->launch_nonce) {
		cgstat_close(&dirs);
		nonce = 0;
	}
	if (!nonce && s->journal.now.init_pid > 0 &&
		cgstat_open(&dirs, &s->hier, s->settings.cgroup) > 0)
		nonce = s->launch_nonce;
	memset(&now, 0, sizeof(now));
	if (nonce)
		cgstat_read(&dirs, &now);
	fill(ret, &now);
}

static enum served stats(struct conn *c, uint32_t stream, const void *req)
{
	struct stats_msg m;

	sample(c->shim, &m);
	return serve_answer(c, stream, &m.m.base);
}

static enum served watch_stats(struct conn *c, uint32_t stream, const void *req)
{
	const Holdfast__V1__WatchStatsRequest *r = req;
	uint64_t interval = r->interval_usec ? r->interval_usec : INTERVAL_STD;
	enum served served;
	struct call *call;

	if (interval < INTERVAL_MIN || interval > INTERVAL_MAX)
		return serve_error(c, stream, TTRPC_INVALID_ARGUMENT,
			"WatchStats: interval_usec %llu: use 100000 (100 ms) to 3600000000 (1 h)",
			(unsigned long long)interval);
	served = serve_begin(c, stream, CALL_STATS, "WatchStats", &call);
	if (!call)
		return served;
	call->stats.interval_usec = interval;
	serve_changed(c->shim);
	return SERVED;
}

static void wake_by(struct shim *s, uint64_t due, uint64_t now)
{
	if (s->serve.stats_due && s->serve.stats_due <= due)
		return;
	s->serve.stats_due = due;
	loop_timer_set(&s->serve.stats_timer, due > now ? due - now : 0);
}

/* The first comes at once, missed ones are not made up for. */
static uint64_t next_due(uint64_t now, uint64_t due, uint64_t interval)
{
	return due + interval > now ? due + interval : now + interval;
}

void stats_push(struct conn *c, struct call *call)
{
	uint64_t now = now_boot(), due = call->stats.due_boot;
	struct stats_msg m;

	if (now >= due) {
		sample(c->shim, &m);
		/* before it is sent: a successor would send it twice within a moment */
		call->stats.due_boot = next_due(now, due, call->stats.interval_usec);
		if (serve_data(c, call->stream, &m.m.base) == SERVED_BLOCKED || c->doomed) {
			call->stats.due_boot = due;
			return; /* there is room again: it is called again */
		}
	}
	wake_by(c->shim, call->stats.due_boot, now);
}

const struct serve_method serve_stats_methods[] = {
	{SERVICE, "Stats", &holdfast__v1__stats_request__descriptor, false, stats},
	{SERVICE, "WatchStats", &holdfast__v1__watch_stats_request__descriptor, false, watch_stats},
	{0},
};
