#include "monitor/cgstat.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/base/fd.h"
#include "ipc/base/mem.h"

#define TEXT_MAX     8192u /* memory.stat is the longest: under 2 KiB; io.stat has a line a disk */
#define NSEC_IN_USEC 1000u
#define V1_NO_LIMIT  (1ULL << 62) /* v1 writes "none" as the largest multiple of a page */

static void put(struct cgstat *s, enum cgstat_field f, uint64_t value)
{
	s->has |= 1ULL << f;
	s->value[f] = value;
}

/* Parsers -------------------------------------------------------------------------------------- */

static bool number(const char *text, uint64_t *ret)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	return errno == 0 && (*end == '\0' || strchr(" \n\t", *end));
}

void cgstat_take_number(struct cgstat *s, enum cgstat_field f, const char *text)
{
	uint64_t n;

	if (number(text, &n))
		put(s, f, n);
}

bool cgstat_find(const char *text, const char *key, char sep, uint64_t *ret)
{
	size_t len = strlen(key);
	bool found = false;
	uint64_t n;

	*ret = 0;
	for (const char *at = text; (at = strstr(at, key)); at += len) {
		bool begins = at == text || strchr(" \n", at[-1]);

		if (!begins || at[len] != sep || !number(at + len + 1, &n))
			continue;
		*ret += n;
		found = true;
	}
	return found;
}

void cgstat_take_cpu_max(struct cgstat *s, const char *text)
{
	unsigned long long quota, period;

	if (sscanf(text, "%llu %llu", &quota, &period) == 2 && period > 0)
		put(s, CGSTAT_CPU_LIMIT, quota * 1000 / period);
}

void cgstat_take_blkio(struct cgstat *s, const char *text)
{
	uint64_t n;

	/* the lines' first word is the device; the file ends with "Total N" of all */
	if (cgstat_find(text, "Read", ' ', &n))
		put(s, CGSTAT_IO_READ, n);
	if (cgstat_find(text, "Write", ' ', &n))
		put(s, CGSTAT_IO_WRITE, n);
}

/* "some avg10=1.25 avg60=0.00 avg300=0.00 total=1234": an average in hundredths. */
static bool hundredths(const char *line, const char *key, uint64_t *ret)
{
	const char *at = strstr(line, key);
	unsigned whole, part;

	if (!at || sscanf(at + strlen(key), "%5u.%2u", &whole, &part) != 2)
		return false;
	*ret = whole * 100 + part;
	return true;
}

void cgstat_take_pressure(struct cgstat *s, enum cgstat_resource r, const char *text)
{
	static const char *const kinds[] = {"some ", "full "};
	uint64_t n;

	for (unsigned k = 0; k < PRESSURE_KINDS; k++) {
		const char *at = strstr(text, kinds[k]);
		char line[128];

		if (!at)
			continue;
		snprintf(line, sizeof(line), "%.*s", (int)strcspn(at, "\n"), at);
		if (hundredths(line, "avg10=", &n))
			put(s, cgstat_pressure(r, k, PRESSURE_AVG10), n);
		if (hundredths(line, "avg60=", &n))
			put(s, cgstat_pressure(r, k, PRESSURE_AVG60), n);
		if (cgstat_find(line, "total", '=', &n))
			put(s, cgstat_pressure(r, k, PRESSURE_TOTAL), n);
	}
}

/* Files ---------------------------------------------------------------------------------------- */

static void plain(struct cgstat *s, unsigned f, const char *text)
{
	cgstat_take_number(s, f, text);
}

static void v1_limit(struct cgstat *s, unsigned f, const char *text)
{
	uint64_t n;

	if (number(text, &n) && n < V1_NO_LIMIT)
		put(s, f, n);
}

static void nanoseconds(struct cgstat *s, unsigned f, const char *text)
{
	uint64_t n;

	if (!cgstat_has(s, f) && number(text, &n))
		put(s, f, n / NSEC_IN_USEC);
}

static void cpu_max(struct cgstat *s, unsigned f, const char *text)
{
	cgstat_take_cpu_max(s, text);
}

static void blkio(struct cgstat *s, unsigned f, const char *text)
{
	cgstat_take_blkio(s, text);
}

static void pressure(struct cgstat *s, unsigned resource, const char *text)
{
	cgstat_take_pressure(s, resource, text);
}

struct key {
	const char *key;
	enum cgstat_field field;
	uint32_t divide; /* 0: as it is */
};

static void keyed(struct cgstat *s, const struct key *keys, char sep, const char *text)
{
	uint64_t n;

	for (; keys->key; keys++)
		if (cgstat_find(text, keys->key, sep, &n))
			put(s, keys->field, keys->divide ? n / keys->divide : n);
}

static const struct key cpu_stat[] = {
	{"usage_usec", CGSTAT_CPU_USAGE, 0},
	{"user_usec", CGSTAT_CPU_USER, 0},
	{"system_usec", CGSTAT_CPU_SYSTEM, 0},
	{"nr_periods", CGSTAT_CPU_PERIODS, 0},
	{"nr_throttled", CGSTAT_CPU_THROTTLED_PERIODS, 0},
	{"throttled_usec", CGSTAT_CPU_THROTTLED, 0},
	{"throttled_time", CGSTAT_CPU_THROTTLED, NSEC_IN_USEC},
	{0},
};
static const struct key memory_stat[] = {
	{"anon", CGSTAT_MEM_ANON, 0},
	{"file", CGSTAT_MEM_FILE, 0},
	{"kernel", CGSTAT_MEM_KERNEL, 0},
	{0},
};
static const struct key memory_stat_v1[] = {
	{"total_rss", CGSTAT_MEM_ANON, 0},
	{"total_cache", CGSTAT_MEM_FILE, 0},
	{"total_swap", CGSTAT_MEM_SWAP, 0},
	{0},
};
static const struct key memory_events[] = {
	{"high", CGSTAT_MEM_EVENTS_HIGH, 0},
	{"max", CGSTAT_MEM_EVENTS_MAX, 0},
	{"oom", CGSTAT_MEM_EVENTS_OOM, 0},
	{"oom_kill", CGSTAT_MEM_EVENTS_OOM_KILL, 0},
	{0},
};
static const struct key oom_control[] = {{"oom_kill", CGSTAT_MEM_EVENTS_OOM_KILL, 0}, {0}};
static const struct key pids_events[] = {{"max", CGSTAT_PIDS_EVENTS_MAX, 0}, {0}};
static const struct key io_stat[] = {
	{"rbytes", CGSTAT_IO_READ, 0},
	{"wbytes", CGSTAT_IO_WRITE, 0},
	{0},
};

/* Where each figure stands. Of several rows for one field the later wins, so the v2 tree's cpu.stat
 * comes first: a v1 group of the cpu controller knows more of the quota. */
static const struct source {
	enum cgstat_dir dir;
	bool v2;
	const char *file;
	void (*parse)(struct cgstat *s, unsigned arg, const char *text); /* NULL: keys */
	unsigned arg;
	const struct key *keys;
	char sep;
} sources[] = {
	{CGDIR_UNIFIED, true, "cpu.stat", NULL, 0, cpu_stat, ' '},
	{CGDIR_UNIFIED, true, "cpu.pressure", pressure, PRESSURE_CPU, NULL, 0},
	{CGDIR_UNIFIED, true, "memory.pressure", pressure, PRESSURE_MEMORY, NULL, 0},
	{CGDIR_UNIFIED, true, "io.pressure", pressure, PRESSURE_IO, NULL, 0},

	{CGDIR_CPU, true, "cpu.max", cpu_max, 0, NULL, 0},
	{CGDIR_CPU, false, "cpu.stat", NULL, 0, cpu_stat, ' '},
	{CGDIR_CPUACCT, false, "cpuacct.usage", nanoseconds, CGSTAT_CPU_USAGE, NULL, 0},
	{CGDIR_CPUACCT, false, "cpuacct.usage_user", nanoseconds, CGSTAT_CPU_USER, NULL, 0},
	{CGDIR_CPUACCT, false, "cpuacct.usage_sys", nanoseconds, CGSTAT_CPU_SYSTEM, NULL, 0},

	{CGDIR_MEMORY, true, "memory.current", plain, CGSTAT_MEM_CURRENT, NULL, 0},
	{CGDIR_MEMORY, true, "memory.peak", plain, CGSTAT_MEM_PEAK, NULL, 0},
	{CGDIR_MEMORY, true, "memory.max", plain, CGSTAT_MEM_LIMIT, NULL, 0},
	{CGDIR_MEMORY, true, "memory.high", plain, CGSTAT_MEM_HIGH, NULL, 0},
	{CGDIR_MEMORY, true, "memory.swap.current", plain, CGSTAT_MEM_SWAP, NULL, 0},
	{CGDIR_MEMORY, true, "memory.stat", NULL, 0, memory_stat, ' '},
	{CGDIR_MEMORY, true, "memory.events", NULL, 0, memory_events, ' '},
	{CGDIR_MEMORY, false, "memory.usage_in_bytes", plain, CGSTAT_MEM_CURRENT, NULL, 0},
	{CGDIR_MEMORY, false, "memory.max_usage_in_bytes", plain, CGSTAT_MEM_PEAK, NULL, 0},
	{CGDIR_MEMORY, false, "memory.limit_in_bytes", v1_limit, CGSTAT_MEM_LIMIT, NULL, 0},
	{CGDIR_MEMORY, false, "memory.kmem.usage_in_bytes", plain, CGSTAT_MEM_KERNEL, NULL, 0},
	{CGDIR_MEMORY, false, "memory.failcnt", plain, CGSTAT_MEM_EVENTS_MAX, NULL, 0},
	{CGDIR_MEMORY, false, "memory.stat", NULL, 0, memory_stat_v1, ' '},
	{CGDIR_MEMORY, false, "memory.oom_control", NULL, 0, oom_control, ' '},

	{CGDIR_PIDS, true, "pids.current", plain, CGSTAT_PIDS_CURRENT, NULL, 0},
	{CGDIR_PIDS, true, "pids.max", plain, CGSTAT_PIDS_LIMIT, NULL, 0},
	{CGDIR_PIDS, true, "pids.events", NULL, 0, pids_events, ' '},
	{CGDIR_PIDS, false, "pids.current", plain, CGSTAT_PIDS_CURRENT, NULL, 0},
	{CGDIR_PIDS, false, "pids.max", plain, CGSTAT_PIDS_LIMIT, NULL, 0},
	{CGDIR_PIDS, false, "pids.events", NULL, 0, pids_events, ' '},

	{CGDIR_IO, true, "io.stat", NULL, 0, io_stat, '='},
	{CGDIR_IO, false, "blkio.throttle.io_service_bytes", blkio, 0, NULL, 0},
};

/* Whole, without fault texts: most of these files are missing somewhere. A group that has done no
 * I/O has an empty io.stat, which is 0 bytes of it. */
static bool read_text(int dir, const char *file, char *text)
{
	auto_fd fd = openat(dir, file, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, TEXT_MAX - 1);

	text[n > 0 ? n : 0] = '\0';
	return n >= 0;
}

/* v1 has the quota in two files. */
static void quota_v1(const struct cgstat_dirs *d, struct cgstat *s, char *text)
{
	uint64_t quota, period;

	if (d->fd[CGDIR_CPU] < 0 || d->v2[CGDIR_CPU] ||
		!read_text(d->fd[CGDIR_CPU], "cpu.cfs_quota_us", text) || !number(text, &quota))
		return;
	if (read_text(d->fd[CGDIR_CPU], "cpu.cfs_period_us", text) && number(text, &period) &&
		period)
		put(s, CGSTAT_CPU_LIMIT, quota * 1000 / period);
}

void cgstat_read(const struct cgstat_dirs *d, struct cgstat *ret)
{
	char text[TEXT_MAX];

	memset(ret, 0, sizeof(*ret));
	for (size_t i = 0; i < array_size(sources); i++) {
		const struct source *from = &sources[i];

		if (d->fd[from->dir] < 0 || d->v2[from->dir] != from->v2 ||
			!read_text(d->fd[from->dir], from->file, text))
			continue;
		if (from->keys == io_stat) {
			put(ret, CGSTAT_IO_READ, 0);
			put(ret, CGSTAT_IO_WRITE, 0);
		}
		if (from->parse)
			from->parse(ret, from->arg, text);
		else
			keyed(ret, from->keys, from->sep, text);
	}
	quota_v1(d, ret, text);
}

/* Directories ---------------------------------------------------------------------------------- */

void cgstat_init(struct cgstat_dirs *d)
{
	for (int i = 0; i < CGDIRS; i++)
		d->fd[i] = -1;
}

static int open_dir(const char *root, const char *group)
{
	char path[512];

	if (!root[0] || snprintf(path, sizeof(path), "%s%s", root, group) >= (int)sizeof(path))
		return -1;
	return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

int cgstat_open(struct cgstat_dirs *d, const struct cghier *h, const char *path)
{
	static const enum cg_controller of[CGDIRS] = {
		[CGDIR_MEMORY] = CG_MEMORY,
		[CGDIR_CPU] = CG_CPU,
		[CGDIR_CPUACCT] = CG_CPUACCT,
		[CGDIR_PIDS] = CG_PIDS,
		[CGDIR_IO] = CG_BLKIO,
	};
	int n = 0;

	cgstat_init(d);
	d->fd[CGDIR_UNIFIED] = open_dir(h->unified, path);
	d->v2[CGDIR_UNIFIED] = true;
	for (int i = CGDIR_UNIFIED + 1; i < CGDIRS; i++) {
		const struct cg_place *at = &h->at[of[i]];

		d->v2[i] = at->v2;
		if (at->v2 && at->root[0] && d->fd[CGDIR_UNIFIED] >= 0)
			d->fd[i] = fcntl(d->fd[CGDIR_UNIFIED], F_DUPFD_CLOEXEC, 3);
		else if (!at->v2)
			d->fd[i] = open_dir(at->root, path);
	}
	for (int i = 0; i < CGDIRS; i++)
		n += d->fd[i] >= 0;
	return n;
}

void cgstat_close(struct cgstat_dirs *d)
{
	for (int i = 0; i < CGDIRS; i++)
		fd_close(&d->fd[i]);
}
