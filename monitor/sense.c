#include "monitor/sense.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"
#include "ipc/base/mem.h"
#include "monitor/cgstat.h"

#define TEXT_MAX     8192u
#define V1_NO_LIMIT  (1ULL << 62)
#define NONE	     UINT64_MAX
#define HALF	     2u		/* of its threshold wakes a rule: its own window judges */
#define MARK_ROOM    (1u << 20) /* less below the limit, and memory.events tells as well */
#define GROWTH_MIN   (512u << 10)
#define GROWTH_SHARE 8u
#define PROCESS_MIN  (20u << 10) /* of memory: a thread and its stack in the kernel */
#define FORKS_STALL  20000u	 /* usec of 2 s */
#define FORKS_WINDOW 2000000u

#define BIT(i) (1ull << (i))
#define DRAWN  BIT(INPUTS) /* for people, whatever the rules are (monitor/pressure_log.h) */
#define STAT   (BIT(INPUT_WORKING_SET) | BIT(INPUT_UNRECLAIMABLE))
#define USED   (BIT(INPUT_MEMORY_USAGE) | STAT)

/* Reading -------------------------------------------------------------------------------------- */

struct reading {
	struct sense *sense;
	struct sample *ret;
	uint64_t inactive, droppable;
};

static void put(struct sample *s, enum rule_input i, uint64_t value)
{
	s->has |= BIT(i);
	s->in[i] = value;
}

static void keyed(struct reading *r, enum rule_input i, const char *key, const char *text)
{
	uint64_t n;

	if (cgstat_find(text, key, ' ', &n))
		put(r->ret, i, n);
}

static void pressure(struct reading *r, unsigned input, const char *text)
{
	static const char *const kinds[] = {"some ", "full "};

	for (unsigned k = 0; k < 2; k++) {
		const char *at = strstr(text, kinds[k]);

		at = at ? strstr(at, "total=") : NULL;
		if (at)
			put(r->ret, (enum rule_input)(input + k),
				strtoull(at + strlen("total="), NULL, 10));
	}
}

static void events(struct reading *r, unsigned input, const char *text)
{
	keyed(r, INPUT_EVENTS_HIGH, "high", text);
	keyed(r, INPUT_EVENTS_MAX, "max", text);
	keyed(r, INPUT_EVENTS_OOM, "oom", text);
	keyed(r, INPUT_EVENTS_OOM_KILL, "oom_kill", text);
}

static void usage(struct reading *r, unsigned input, const char *text)
{
	r->sense->usage = strtoull(text, NULL, 10);
}

static void limit(struct reading *r, unsigned input, const char *text)
{
	uint64_t n = text[0] >= '0' && text[0] <= '9' ? strtoull(text, NULL, 10) : NONE;

	r->sense->limit = n < V1_NO_LIMIT ? n : 0;
}

static void stat_v2(struct reading *r, unsigned input, const char *text)
{
	uint64_t active = 0, slab = 0;

	cgstat_find(text, "inactive_file", ' ', &r->inactive);
	cgstat_find(text, "active_file", ' ', &active);
	cgstat_find(text, "slab_reclaimable", ' ', &slab);
	r->droppable = r->inactive + active + slab;
	keyed(r, INPUT_RECLAIM, "pgscan", text);
}

static void stat_v1(struct reading *r, unsigned input, const char *text)
{
	uint64_t active = 0;

	cgstat_find(text, "total_inactive_file", ' ', &r->inactive);
	cgstat_find(text, "total_active_file", ' ', &active);
	r->droppable = r->inactive + active;
}

/* Where the limit of memory and swap together is the same, that is the one that is reached, and
 * nobody counts it (measured on 6.18): then it is how often the kernel had to look for pages. */
static void failcnt(struct reading *r, unsigned input, const char *text)
{
	struct sense *s = r->sense;
	uint64_t n, failed = strtoull(text, NULL, 10);

	if (s->scan >= 0 && read(s->scan, &n, sizeof(n)) == (ssize_t)sizeof(n))
		s->scans += n;
	put(r->ret, INPUT_EVENTS_MAX, failed > s->scans ? failed : s->scans);
	put(r->ret, INPUT_RECLAIM, failed + s->scans);
}

/* v1 does not count the times that it ran out, only those that it killed. */
static void oom_control(struct reading *r, unsigned input, const char *text)
{
	keyed(r, INPUT_EVENTS_OOM, "oom_kill", text);
	keyed(r, INPUT_EVENTS_OOM_KILL, "oom_kill", text);
}

static void pids(struct reading *r, unsigned input, const char *text)
{
	keyed(r, INPUT_PIDS_MAX, "max", text);
}

static void tasks(struct reading *r, unsigned input, const char *text)
{
	r->sense->pids = strtoull(text, NULL, 10);
}

static void tasks_limit(struct reading *r, unsigned input, const char *text)
{
	r->sense->pids_limit = text[0] >= '0' && text[0] <= '9' ? strtoull(text, NULL, 10) : 0;
}

static void cpu(struct reading *r, unsigned input, const char *text)
{
	keyed(r, INPUT_PERIODS, "nr_periods", text);
	keyed(r, INPUT_THROTTLED, "nr_throttled", text);
}

enum source_place { AT_V2 = 1, AT_V1 = 2, AT_BOTH = 3 };
enum source_tells { TELLS_NOTHING, TELLS_CHANGES, TELLS_OOM };

/* In the order of reading: what is in use before what of it is cache. */
static const struct source {
	enum cgstat_dir dir;
	enum source_place place;
	const char *file;
	uint64_t inputs; /* who of these needs it */
	void (*parse)(struct reading *r, unsigned input, const char *text);
	unsigned input;
	enum source_tells tells;
} sources[SENSE_FILES] = {
	{CGDIR_UNIFIED, AT_V2, "memory.pressure",
		BIT(INPUT_MEMORY_SOME) | BIT(INPUT_MEMORY_FULL) | DRAWN, pressure,
		INPUT_MEMORY_SOME, TELLS_NOTHING},
	{CGDIR_UNIFIED, AT_V2, "cpu.pressure", BIT(INPUT_CPU_SOME) | BIT(INPUT_CPU_FULL) | DRAWN,
		pressure, INPUT_CPU_SOME, TELLS_NOTHING},
	{CGDIR_UNIFIED, AT_V2, "io.pressure", BIT(INPUT_IO_SOME) | BIT(INPUT_IO_FULL) | DRAWN,
		pressure, INPUT_IO_SOME, TELLS_NOTHING},
	{CGDIR_MEMORY, AT_V2, "memory.events",
		BIT(INPUT_EVENTS_HIGH) | BIT(INPUT_EVENTS_MAX) | BIT(INPUT_EVENTS_OOM) |
			BIT(INPUT_EVENTS_OOM_KILL) | BIT(INPUT_RECLAIM) | USED,
		events, 0, TELLS_CHANGES},
	{CGDIR_MEMORY, AT_V2, "memory.current", USED | DRAWN, usage, 0, TELLS_NOTHING},
	{CGDIR_MEMORY, AT_V2, "memory.max", USED | DRAWN, limit, 0, TELLS_NOTHING},
	{CGDIR_MEMORY, AT_V2, "memory.stat", STAT | BIT(INPUT_RECLAIM), stat_v2, 0, TELLS_NOTHING},
	{CGDIR_MEMORY, AT_V1, "memory.usage_in_bytes", USED | BIT(INPUT_PIDS_MAX) | DRAWN, usage, 0,
		TELLS_NOTHING},
	{CGDIR_MEMORY, AT_V1, "memory.limit_in_bytes", USED | DRAWN, limit, 0, TELLS_NOTHING},
	{CGDIR_MEMORY, AT_V1, "memory.stat", STAT, stat_v1, 0, TELLS_NOTHING},
	{CGDIR_MEMORY, AT_V1, "memory.failcnt", BIT(INPUT_EVENTS_MAX) | BIT(INPUT_RECLAIM), failcnt,
		0, TELLS_NOTHING},
	{CGDIR_MEMORY, AT_V1, "memory.oom_control",
		BIT(INPUT_EVENTS_OOM) | BIT(INPUT_EVENTS_OOM_KILL), oom_control, 0, TELLS_OOM},
	{CGDIR_PIDS, AT_BOTH, "pids.events", BIT(INPUT_PIDS_MAX), pids, 0, TELLS_CHANGES},
	{CGDIR_PIDS, AT_BOTH, "pids.current", BIT(INPUT_PIDS_MAX) | DRAWN, tasks, 0, TELLS_NOTHING},
	{CGDIR_PIDS, AT_V1, "pids.max", BIT(INPUT_PIDS_MAX), tasks_limit, 0, TELLS_NOTHING},
	{CGDIR_CPU, AT_BOTH, "cpu.stat", BIT(INPUT_PERIODS) | BIT(INPUT_THROTTLED), cpu, 0,
		TELLS_NOTHING},
};

/* Of what is in use without `but`. */
static uint64_t of_limit(const struct sense *s, uint64_t but)
{
	uint64_t bytes = s->usage > but ? s->usage - but : 0;

	return bytes >= s->limit ? SIGNAL_WHOLE
				 : (uint64_t)((unsigned __int128)bytes * SIGNAL_WHOLE / s->limit);
}

void sense_read(struct sense *s, bool drawn, struct sample *ret)
{
	struct reading r = {.sense = s, .ret = ret};
	char text[TEXT_MAX];

	s->usage = s->limit = s->pids = s->pids_limit = 0;
	for (unsigned i = 0; i < SENSE_FILES; i++) {
		ssize_t n;

		if (s->fd[i] < 0 || !(drawn || s->ruled >> i & 1))
			continue;
		n = pread(s->fd[i], text, sizeof(text) - 1, 0);
		if (n < 0)
			continue;
		text[n] = '\0';
		sources[i].parse(&r, sources[i].input, text);
	}
	if (!s->limit)
		return;
	put(ret, INPUT_MEMORY_USAGE, of_limit(s, 0));
	put(ret, INPUT_WORKING_SET, of_limit(s, r.inactive));
	put(ret, INPUT_UNRECLAIMABLE, of_limit(s, r.droppable));
}

/* Opening -------------------------------------------------------------------------------------- */

void sense_init(struct sense *s)
{
	memset(s, 0, sizeof(*s));
	for (unsigned i = 0; i < SENSE_FILES; i++)
		s->fd[i] = -1;
	s->epoll = s->high = s->scan = s->growth = s->growth_dir = -1;
	s->high_was = NONE;
}

static uint64_t needs(const struct rule *r)
{
	const struct signal_info *i = signal_info((enum rule_signal)r->signal);
	uint64_t bits = BIT(i->input);

	if (i->kind == KIND_RATIO || i->kind == KIND_GATED)
		bits |= BIT(i->second);
	return bits;
}

static void open_files(struct sense *s, const struct cgstat_dirs *d, uint64_t inputs)
{
	for (unsigned i = 0; i < SENSE_FILES; i++) {
		const struct source *from = &sources[i];
		bool here = from->place & (d->v2[from->dir] ? AT_V2 : AT_V1);

		if (!(from->inputs & (inputs | DRAWN)) || !here || d->fd[from->dir] < 0)
			continue;
		s->ruled |= from->inputs & inputs ? 1u << i : 0;
		s->fd[i] = openat(d->fd[from->dir], from->file, O_RDONLY | O_CLOEXEC);
		if (from->tells == TELLS_CHANGES && alarm_changes(s, s->fd[i]) < 0)
			s->blind = true;
		if (from->tells == TELLS_OOM && alarm_v1(s, d->fd[from->dir], s->fd[i], "") < 0)
			s->blind = true;
	}
}

/* Which file of the v2 tree tells of stalls, and how, for a signal. */
static bool pressure_of(const struct rule *r, const char **file, bool *full)
{
	switch (r->signal) {
	case SIGNAL_MEMORY_PRESSURE_SOME:
	case SIGNAL_MEMORY_PRESSURE_FULL:
		*file = "memory.pressure";
		break;
	case SIGNAL_IO_PRESSURE_SOME:
	case SIGNAL_IO_PRESSURE_FULL:
		*file = "io.pressure";
		break;
	case SIGNAL_CPU_PRESSURE_SOME:
	case SIGNAL_CPU_PRESSURE_FULL:
	case SIGNAL_CPU_THROTTLED: /* who may not run waits for it */
		*file = "cpu.pressure";
		break;
	default:
		return false;
	}
	*full = r->signal == SIGNAL_MEMORY_PRESSURE_FULL || r->signal == SIGNAL_IO_PRESSURE_FULL ||
		r->signal == SIGNAL_CPU_PRESSURE_FULL;
	return true;
}

static void arm_pressure(struct sense *s, const struct cgstat_dirs *d, const struct rule *r)
{
	uint64_t stall = r->threshold * r->window_usec / SIGNAL_WHOLE / HALF;
	const char *file;
	bool full;

	if (!pressure_of(r, &file, &full))
		return;
	if (d->fd[CGDIR_UNIFIED] < 0 ||
		alarm_pressure(s, d->fd[CGDIR_UNIFIED], file, full, stall, r->window_usec) < 0)
		s->blind = true;
}

static bool has_mark(const struct rule *r)
{
	return r->signal == SIGNAL_MEMORY_USAGE || r->signal == SIGNAL_MEMORY_WORKING_SET ||
	       r->signal == SIGNAL_MEMORY_UNRECLAIMABLE || r->signal == SIGNAL_MEMORY_RECLAIM;
}

static int usage_v1(const struct sense *s)
{
	for (unsigned i = 0; i < SENSE_FILES; i++)
		if (strcmp(sources[i].file, "memory.usage_in_bytes") == 0)
			return s->fd[i];
	return -1;
}

static void add_mark(struct sense *s, const struct cgstat_dirs *d, const struct rule *r)
{
	char bytes[32];

	s->mark[s->marks++] = r->threshold;
	if (d->v2[CGDIR_MEMORY])
		return;
	snprintf(bytes, sizeof(bytes), "%" PRIu64, s->limit / SIGNAL_WHOLE * r->threshold);
	if (s->limit && alarm_v1(s, d->fd[CGDIR_MEMORY], usage_v1(s), bytes) < 0)
		s->blind = true;
}

/* v1 does not tell that it is at its limit. And where files have filled the memory up, of what
 * grows in their place it tells nothing: use stays at the limit, and crosses no mark. But the
 * kernel has to look for pages to drop, and tells that. */
static void arm_scan_v1(struct sense *s, const struct cgstat_dirs *d, const struct rule *r)
{
	auto_fd fd = -1;

	if (d->v2[CGDIR_MEMORY] || d->fd[CGDIR_MEMORY] < 0 || s->scan >= 0 ||
		(!has_mark(r) && r->signal != SIGNAL_MEMORY_EVENTS_MAX))
		return;
	fd = openat(d->fd[CGDIR_MEMORY], "memory.pressure_level", O_RDONLY | O_CLOEXEC);
	if (alarm_v1_once(s, d->fd[CGDIR_MEMORY], fd, "low", &s->scan) < 0)
		s->blind = true;
}

/* v1 tells nobody that it refuses forks (measured on 6.18). But whoever forks so much takes memory
 * of the kernel, and CPU. Near the limit there is little left to take: that is looked at. */
static void arm_forks_v1(struct sense *s, const struct cgstat_dirs *d, const struct rule *r)
{
	if (d->v2[CGDIR_PIDS] || r->signal != SIGNAL_PIDS_MAX)
		return;
	if (d->fd[CGDIR_MEMORY] >= 0 && !d->v2[CGDIR_MEMORY] && s->growth_dir < 0)
		s->growth_dir = fcntl(d->fd[CGDIR_MEMORY], F_DUPFD_CLOEXEC, 3);
	if (d->fd[CGDIR_UNIFIED] < 0 || alarm_pressure(s, d->fd[CGDIR_UNIFIED], "cpu.pressure",
						false, FORKS_STALL, FORKS_WINDOW) < 0)
		s->blind |= s->growth_dir < 0;
	s->untold = true;
}

bool sense_crowded(const struct sense *s)
{
	return s->untold && s->pids_limit && s->pids >= s->pids_limit / 2;
}

static void open_high(struct sense *s, const struct cgstat_dirs *d)
{
	char text[32] = "";
	uint64_t now;

	if (!s->marks || !d->v2[CGDIR_MEMORY] || d->fd[CGDIR_MEMORY] < 0)
		return;
	/* O_NONBLOCK: from 6.16 on a write does not wait for what it makes the kernel reclaim */
	s->high = openat(d->fd[CGDIR_MEMORY], "memory.high", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (s->high < 0 || pread(s->high, text, sizeof(text) - 1, 0) <= 0) {
		fd_close(&s->high);
		s->blind = true;
		return;
	}
	now = text[0] >= '0' && text[0] <= '9' ? strtoull(text, NULL, 10) : NONE;
	if (s->high_known)
		s->high_moved = now != s->high_was; /* its mark: taken away at once */
	else
		s->high_was = now;
}

int sense_open(struct sense *s, const struct cghier *h, const char *path, const struct rules *rules)
{
	struct cgstat_dirs d;
	struct sample first = {0};
	uint64_t inputs = 0;

	sense_close(s);
	if (cgstat_open(&d, h, path) == 0)
		return fault_plain(-ENOENT, "cgroup %s: is in no hierarchy", path);
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll < 0) {
		cgstat_close(&d);
		return fault(-errno, "epoll");
	}
	for (unsigned i = 0; i < rules->len; i++)
		inputs |= needs(&rules->rule[i]);
	open_files(s, &d, inputs);
	sense_read(s, true, &first); /* the limit */
	for (unsigned i = 0; i < rules->len; i++) {
		arm_pressure(s, &d, &rules->rule[i]);
		arm_scan_v1(s, &d, &rules->rule[i]);
		arm_forks_v1(s, &d, &rules->rule[i]);
		if (has_mark(&rules->rule[i]))
			add_mark(s, &d, &rules->rule[i]);
	}
	open_high(s, &d);
	cgstat_close(&d);
	return 0;
}

/* The mark on v2 ------------------------------------------------------------------------------- */

static void high_write(struct sense *s, uint64_t bytes)
{
	char text[32] = "max";

	if (bytes != NONE)
		snprintf(text, sizeof(text), "%" PRIu64, bytes);
	if (pwrite(s->high, text, strlen(text), 0) < 0 && bytes != s->high_was)
		s->blind = true;
}

/* The next one above what is in use. A container that uses more for cache alone has one half way
 * to its limit; near the limit memory.events tells. */
static uint64_t next_mark(const struct sense *s)
{
	uint64_t best = s->limit;

	for (unsigned i = 0; i < s->marks; i++) {
		uint64_t bytes = s->limit / SIGNAL_WHOLE * s->mark[i];

		if (bytes > s->usage && bytes < best)
			best = bytes;
	}
	if (best == s->limit && s->limit > s->usage)
		best = s->usage + (s->limit - s->usage) / 2;
	return best + MARK_ROOM < s->limit ? best : NONE;
}

static void watch_growth(struct sense *s)
{
	uint64_t much = s->usage / GROWTH_SHARE, room = s->pids_limit / 2 * PROCESS_MIN;
	char bytes[32];

	if (much > room)
		much = room; /* a bomb in what is large already grows it by no more */
	if (much < GROWTH_MIN)
		much = GROWTH_MIN;
	snprintf(bytes, sizeof(bytes), "%" PRIu64, s->usage + much);
	if (s->growth_dir >= 0)
		alarm_v1_once(s, s->growth_dir, usage_v1(s), bytes, &s->growth);
}

void sense_sleep(struct sense *s)
{
	uint64_t mark = s->high >= 0 && s->limit ? next_mark(s) : NONE;

	watch_growth(s);
	if (mark == NONE || mark >= s->high_was)
		return;
	s->high_moved = true;
	high_write(s, mark);
}

void sense_wake(struct sense *s)
{
	if (s->high_moved)
		high_write(s, s->high_was);
	s->high_moved = false;
	alarm_drain(s);
	fd_close(&s->growth); /* which ends its registration */
}

void sense_close(struct sense *s)
{
	bool known = s->high_known;
	uint64_t was = s->high_was;

	if (s->high_moved && s->high >= 0)
		high_write(s, s->high_was);
	for (unsigned i = 0; i < SENSE_FILES; i++)
		fd_close(&s->fd[i]);
	for (unsigned i = 0; i < s->alarms; i++)
		fd_close(&s->alarm[i]);
	fd_close(&s->high);
	fd_close(&s->scan);
	fd_close(&s->growth);
	fd_close(&s->growth_dir);
	fd_close(&s->epoll);
	sense_init(s);
	s->high_was = was;
	s->high_known = known;
}
