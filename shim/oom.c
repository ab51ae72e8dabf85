/* cgroup v2 counts in each group what its own limit did (memory.events.local). The groups around
 * are shared with others, so what counts is how that has grown since the supervisor looked last: at
 * the sandbox's start and at the last such kill. v1 counts how often a limit was met, which is
 * more. Where no group around has a limit, it was the host. */
#include "shim/oom.h"

#include "ipc/base/fault.h"
#include "ipc/base/log.h"
#include "monitor/cgfs.h"
#include "shim/shim.h"

#define AT_LIMIT (1u << 20) /* bytes: so close counts as reached */
#define EITHER	 (EXIT_OOM_GROUP | EXIT_OOM_HOST)

void oom_begin(struct shim *s)
{
	struct cgfs_around around;

	if (cgfs_oom_kills(&s->hier, s->settings.cgroup, &s->shared->oom_kills) < 0)
		s->shared->oom_kills = 0; /* no group yet: it begins at 0 */
	cgfs_memory_around(&s->hier, s->settings.cgroup, &around);
	s->shared->oom_around = around.ooms;
	s->shared->oom_told = 0;
}

/* There were more kills since: what is read now may be theirs. */
static bool late(const struct shim *s, uint64_t kills)
{
	uint64_t now;

	return cgfs_oom_kills(&s->hier, s->settings.cgroup, &now) == 0 && now > kills;
}

/* *now: what the next one is to be held against. */
static uint32_t group_or_host(const struct shim *s, uint64_t kills, uint64_t *now)
{
	uint64_t before = s->shared->oom_around;
	struct cgfs_around around;

	cgfs_memory_around(&s->hier, s->settings.cgroup, &around);
	*now = around.ooms;
	if (!around.limited)
		return EXIT_OOM_HOST;
	if (late(s, kills)) {
		*now = UINT64_MAX;
		return EITHER;
	}
	if (before == UINT64_MAX)
		return EITHER;
	return around.ooms > before ? EXIT_OOM_GROUP : EXIT_OOM_HOST;
}

/* A successor that finds this half done knows less, and nothing wrong: "not known" stands first. */
static void judge(struct shim *s, uint64_t kills)
{
	struct shared *shared = s->shared;
	uint64_t now;
	uint32_t whose = group_or_host(s, kills, &now);

	__atomic_store_n(&shared->oom_around, UINT64_MAX, __ATOMIC_SEQ_CST);
	__atomic_store_n(&shared->oom_whose, whose, __ATOMIC_SEQ_CST);
	__atomic_store_n(&shared->oom_told, kills, __ATOMIC_SEQ_CST);
	__atomic_store_n(&shared->oom_around, now, __ATOMIC_SEQ_CST);
}

/* A kill is told of twice, in a record of its own and by the run's end, or again to a successor. */
void oom_narrow(struct shim *s, struct exit_info *e, uint64_t kills)
{
	if ((e->flags & EXIT_OOM_WHOSE) != EITHER)
		return;
	if (kills != s->shared->oom_told)
		judge(s, kills);
	e->flags = (e->flags & ~(uint32_t)EXIT_OOM_WHOSE) | s->shared->oom_whose;
}

/* The group was this run's alone: it has no init that would start another in it. */
static uint32_t whose(const struct shim *s)
{
	uint64_t ooms, peak, limit;

	if (s->hier.at[CG_MEMORY].v2)
		return cgfs_memory_ooms(&s->hier, s->settings.cgroup, &ooms) < 0 ? 0
		       : ooms							 ? EXIT_OOM_OWN
										 : EITHER;
	if (cgfs_memory_peak(&s->hier, s->settings.cgroup, &peak) < 0 ||
		cgfs_memory_limit(&s->hier, s->settings.cgroup, &limit) < 0)
		return 0;
	return peak + AT_LIMIT >= limit ? EXIT_OOM_OWN : EITHER;
}

void oom_into(struct shim *s, struct exit_info *e)
{
	uint64_t kills;

	if (cgfs_oom_kills(&s->hier, s->settings.cgroup, &kills) < 0)
		return;
	if (kills > s->shared->oom_kills) {
		e->flags |= EXIT_OOM_SEEN | whose(s);
		oom_narrow(s, e, kills);
	}
	s->shared->oom_kills = kills;
}
