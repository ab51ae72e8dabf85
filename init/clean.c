#include "init/clean.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "init/dir.h"
#include "init/pid1.h"
#include "init/proc.h"
#include "init/scrub.h"
#include "init/spawn.h"

static int count_entry(void *ctx, const char *name)
{
	++*(uint32_t *)ctx;
	return 0;
}

static void count_place(void *ctx, int fd)
{
	dir_each(fd, count_entry, ctx);
}

static uint32_t count_entries(const struct plan *plan)
{
	uint32_t n = 0;

	return scrub_each_place(plan, count_place, &n) ? n : CLEAN_UNKNOWN;
}

static uint32_t count_mounts(const struct pid1 *p)
{
	return proc_lines(p, "1/mountinfo");
}

void clean_baseline(struct pid1 *p)
{
	p->clean.entries = count_entries(&p->plan);
	p->clean.mounts = count_mounts(p);
}

/* Each of these files is one line of titles, then a line per object. */
static bool sysv_left(const struct pid1 *p)
{
	return proc_lines(p, "sysvipc/shm") != 1 || proc_lines(p, "sysvipc/sem") != 1 ||
	       proc_lines(p, "sysvipc/msg") != 1;
}

/* A foreign mount first: with it not even the paths can be trusted not to hang (FUSE). */
static bool mounts_changed(const struct pid1 *p)
{
	return count_mounts(p) != p->clean.mounts;
}

static bool things_left(const struct pid1 *p, uint32_t entries)
{
	return entries != p->clean.entries || ((p->plan.flags & PLAN_OWN_IPCNS) && sysv_left(p));
}

enum clean_answer clean_check(struct pid1 *p)
{
	bool tried = p->clean.tried;
	uint32_t entries;

	p->clean.tried = false;
	if (mounts_changed(p))
		return CLEAN_NO;
	entries = count_entries(&p->plan);
	if (entries == CLEAN_UNKNOWN)
		return CLEAN_NO;
	if (!things_left(p, entries))
		return tried ? CLEAN_SCRUBBED : CLEAN_YES;
	if (tried)
		return CLEAN_NO;
	p->clean.scrubber = spawn_helper(scrub, &p->plan);
	if (p->clean.scrubber < 0)
		return CLEAN_NO;
	p->clean.tried = true;
	return CLEAN_SCRUBBING;
}
