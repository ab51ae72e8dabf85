#include "monitor/cgthrottle.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"
#include "monitor/cgstat.h"

#define PERCENT	 100u
#define MILLI	 1000u
#define CPUS_MIN 10u /* thousandths */
#define HIGH_MIN (4ull << 20)
#define IO_MSEC	 100
#define IO_MIN	 (64ull << 10) /* bytes a second */
#define DISKS	 4u

static void stat_now(const struct cghier *h, const char *path, struct cgstat *ret)
{
	struct cgstat_dirs d;

	cgstat_open(&d, h, path);
	cgstat_read(&d, ret);
	cgstat_close(&d);
}

/* One file more, noted first: with what it has, or with what undoes it. */
static int noted_write(
	struct cglimit_undo *u, const char *file, const char *text, const char *undoes)
{
	int r;

	if (u->len == CGLIMIT_FILES)
		return fault_plain(-ENOSPC, "%s: no room to note what it was", file);
	snprintf(u->files[u->len].file, sizeof(u->files[0].file), "%s", file);
	r = undoes ? snprintf(u->files[u->len].was, sizeof(u->files[0].was), "%s", undoes)
		   : (int)file_read_buf(
			     AT_FDCWD, file, u->files[u->len].was, sizeof(u->files[0].was));
	if (r < 0)
		return r;
	u->len++;
	r = file_write(AT_FDCWD, file, text);
	if (r < 0)
		u->len--;
	return r;
}

/* Besides its quota: while it has CPU time it yields to whoever wakes up. A group that stops being
 * idle has the default weight, so that is noted first, to be put back last. */
static int idle(const struct cghier *h, const char *path, struct cglimit_undo *undo)
{
	char file[512], weight[512], was[32];
	int r;

	snprintf(file, sizeof(file), "%s%s/cpu.idle", h->at[CG_CPU].root, path);
	snprintf(weight, sizeof(weight), "%s%s/%s", h->at[CG_CPU].root, path,
		h->at[CG_CPU].v2 ? "cpu.weight" : "cpu.shares");
	if (file_read_buf(AT_FDCWD, file, was, sizeof(was)) < 0 || was[0] != '0')
		return 0; /* before Linux 5.15; or idle already */
	r = file_read_buf(AT_FDCWD, weight, was, sizeof(was));
	if (r >= 0)
		r = noted_write(undo, weight, was, NULL);
	return r < 0 ? r : noted_write(undo, file, "1", NULL);
}

static int cpu(const struct cghier *h, const char *path, unsigned percent,
	struct cglimit_undo *undo, char *text, size_t size)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	struct changed_limits c = {.given = 1u << CHANGED_CPUS};
	struct cgstat now;
	uint64_t may;
	int r;

	stat_now(h, path, &now);
	may = cgstat_has(&now, CGSTAT_CPU_LIMIT) ? now.value[CGSTAT_CPU_LIMIT]
						 : (uint64_t)(online > 0 ? online : 1) * MILLI;
	may = may * percent / PERCENT;
	c.value[CHANGED_CPUS] = may > CPUS_MIN ? may : CPUS_MIN;
	r = cglimit_apply(h, path, &c, c.given, undo);
	if (r == 0)
		r = idle(h, path, undo);
	if (r == 0)
		snprintf(text, size, "%" PRIu64 ".%02" PRIu64 " CPUs",
			c.value[CHANGED_CPUS] / MILLI, c.value[CHANGED_CPUS] % MILLI / 10);
	return r;
}

static int memory_v1(const struct cghier *h, const char *path, uint64_t bytes, unsigned percent,
	struct cglimit_undo *undo, char *text, size_t size)
{
	char file[512], value[32];
	int r = cpu(h, path, percent, undo, text, size);
	size_t len = strlen(text);

	snprintf(
		file, sizeof(file), "%s%s/memory.soft_limit_in_bytes", h->at[CG_MEMORY].root, path);
	snprintf(value, sizeof(value), "%" PRIu64, bytes);
	if (r == 0)
		r = noted_write(undo, file, value, NULL);
	if (r == 0)
		snprintf(text + len, size - len, ", soft limit %" PRIu64, bytes);
	return r;
}

static int memory(const struct cghier *h, const char *path, unsigned percent,
	struct cglimit_undo *undo, char *text, size_t size)
{
	struct changed_limits c = {.given = 1u << CHANGED_MEMORY_HIGH};
	struct cgstat now;
	uint64_t bytes;
	int r;

	stat_now(h, path, &now);
	bytes = now.value[CGSTAT_MEM_CURRENT] > HIGH_MIN ? now.value[CGSTAT_MEM_CURRENT] : HIGH_MIN;
	if (!h->at[CG_MEMORY].v2)
		return memory_v1(h, path, bytes, percent, undo, text, size);
	c.value[CHANGED_MEMORY_HIGH] = bytes;
	r = cglimit_apply(h, path, &c, c.given, undo);
	if (r == 0)
		snprintf(text, size, "memory.high %" PRIu64, bytes);
	return r;
}

/* Disks ---------------------------------------------------------------------------------------- */

struct disk {
	unsigned major, minor;
	uint64_t bytes;
};

static unsigned disks_now(const char *file, struct disk ret[DISKS])
{
	char text[8192], *save = NULL;
	unsigned n = 0;

	if (file_read_buf(AT_FDCWD, file, text, sizeof(text)) <= 0)
		return 0;
	for (char *line = strtok_r(text, "\n", &save); line && n < DISKS;
		line = strtok_r(NULL, "\n", &save)) {
		uint64_t rd = 0, wr = 0;

		if (sscanf(line, "%u:%u ", &ret[n].major, &ret[n].minor) != 2)
			continue;
		cgstat_find(line, "rbytes", '=', &rd);
		cgstat_find(line, "wbytes", '=', &wr);
		ret[n++].bytes = rd + wr;
	}
	return n;
}

static int io(const struct cghier *h, const char *path, unsigned percent, struct cglimit_undo *undo,
	char *text, size_t size)
{
	struct disk before[DISKS], after[DISKS];
	char file[512], limits[512];
	unsigned n;
	int r = 0;

	if (!h->at[CG_BLKIO].v2)
		return fault_plain(-EOPNOTSUPP,
			"throttle: needs the io controller on cgroup v2 (use another action)");
	snprintf(file, sizeof(file), "%s%s/io.stat", h->at[CG_BLKIO].root, path);
	snprintf(limits, sizeof(limits), "%s%s/io.max", h->at[CG_BLKIO].root, path);
	n = disks_now(file, before);
	poll(NULL, 0, IO_MSEC);
	if (disks_now(file, after) < n)
		n = 0;
	for (unsigned i = 0; r == 0 && i < n; i++) {
		uint64_t rate =
			(after[i].bytes - before[i].bytes) * (1000 / IO_MSEC) * percent / PERCENT;
		char line[96], none[64];

		if (after[i].bytes <= before[i].bytes)
			continue;
		rate = rate > IO_MIN ? rate : IO_MIN;
		snprintf(line, sizeof(line), "%u:%u rbps=%" PRIu64 " wbps=%" PRIu64, after[i].major,
			after[i].minor, rate, rate);
		snprintf(none, sizeof(none), "%u:%u rbps=max wbps=max", after[i].major,
			after[i].minor);
		r = noted_write(undo, limits, line, none);
		snprintf(text, size, "io.max %s", line);
	}
	if (r == 0 && !undo->len)
		return fault_plain(-ENODATA, "throttle: it moves nothing from or to a disk now");
	return r;
}

int cgthrottle(const struct cghier *h, const char *path, enum throttle_what what, unsigned percent,
	struct cglimit_undo *undo, char *text, size_t size)
{
	int r = what == THROTTLE_CPU  ? cpu(h, path, percent, undo, text, size)
		: what == THROTTLE_IO ? io(h, path, percent, undo, text, size)
				      : memory(h, path, percent, undo, text, size);

	if (r < 0)
		cglimit_undo(undo);
	return r;
}

bool cgthrottle_can(const struct cghier *h, enum throttle_what what)
{
	switch (what) {
	case THROTTLE_CPU:
		return h->at[CG_CPU].root[0];
	case THROTTLE_IO:
		return h->at[CG_BLKIO].root[0] && h->at[CG_BLKIO].v2;
	case THROTTLE_MEMORY:
		break;
	}
	return h->at[CG_MEMORY].root[0] && (h->at[CG_MEMORY].v2 || h->at[CG_CPU].root[0]);
}
