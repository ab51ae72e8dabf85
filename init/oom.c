#include "init/oom.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "init/counter.h"
#include "init/pid1.h"
#include "init/relay.h"
#include "init/report.h"
#include "init/ring.h"
#include "init/sys.h"
#include "ipc/base/clock.h"

#define TELL_AFTER (50 * USEC_PER_MSEC)
#define LOOKS	   10		 /* 1 + 2 + 4 + ... ms: a second in all */
#define SENT_AFTER USEC_PER_MSEC /* the kernel counts a kill and then sends the signal */

static bool rang(const struct pid1 *p, enum plan_fd fd)
{
	uint64_t count;

	return pid1_has(p, fd) && read((int)fd, &count, sizeof(count)) == sizeof(count);
}

/* v1 tells a group and all below it, so what rings above was not our limit; of the host's end
 * nobody is told. What came last is what the next kill is for. */
static bool heard(struct pid1 *p)
{
	bool around = rang(p, PLAN_FD_OOM_AROUND), here = rang(p, PLAN_FD_OOM_EVENT);

	if (around)
		p->run.oom.news = EXIT_OOM_GROUP;
	else if (here)
		p->run.oom.news = pid1_has(p, PLAN_FD_OOM_AROUND) ? EXIT_OOM_OWN
								  : EXIT_OOM_OWN | EXIT_OOM_GROUP;
	return around || here;
}

static uint32_t whose_v1(struct pid1 *p)
{
	uint32_t news;

	heard(p); /* it rings before it kills */
	news = p->run.oom.news;
	p->run.oom.news = 0;
	if (!pid1_has(p, PLAN_FD_OOM_EVENT))
		return 0;
	return news ? news : EXIT_OOM_HOST;
}

/* v2 counts what the container's own limit did. */
static uint32_t whose_v2(struct pid1 *p, uint64_t own)
{
	bool grown = own > p->run.oom.own;

	p->run.oom.own = own;
	return grown ? EXIT_OOM_OWN : EXIT_OOM_GROUP | EXIT_OOM_HOST;
}

/* How many more kills the file tells of than were seen before. */
static uint64_t count(struct pid1 *p, const char *text, size_t len)
{
	uint64_t kills = counter_value(text, len, "oom_kill "), before = p->run.oom.kills;

	if (kills <= before)
		return 0;
	p->run.oom.kills = p->shared->oom_kills = kills;
	p->run.oom.whose = p->plan.flags & PLAN_MEM_V2
				   ? whose_v2(p, counter_value(text, len, "oom "))
				   : whose_v1(p);
	return kills - before;
}

void oom_begin(struct pid1 *p)
{
	struct oom *o = &p->run.oom;
	char text[RAW_BYTES];
	size_t len = counter_memory(p, text);

	if (!(p->plan.flags & PLAN_MEM_V2))
		heard(p);
	memset(o, 0, sizeof(*o));
	o->base = o->kills = p->shared->oom_kills = counter_value(text, len, "oom_kill ");
	o->own = counter_value(text, len, "oom ");
}

uint32_t oom_ended(struct pid1 *p, const char *text, size_t len)
{
	const struct oom *o = &p->run.oom;

	count(p, text, len);
	if (o->kills == o->base)
		return 0;
	return EXIT_OOM_SEEN | o->whose | (o->kills - o->base == o->others ? EXIT_OOM_OTHERS : 0);
}

static void record_kill(struct pid1 *p)
{
	struct exit_record r = {
		.kind = EXIT_OOM,
		.run = p->shared->run,
		.flags = EXIT_OOM_SEEN | EXIT_OOM_OTHERS | p->run.oom.whose,
		.pid = p->run.child.pid,
		.boot_start = p->run.record.boot_start,
		.boot_end = now_boot(),
		.oom_kills = p->run.oom.kills,
	};

	counters_read(p, &r);
	ring_write(p->shared, PLAN_FD_SHARED, &r);
	/* A packet is charged to us, too: while the victim's memory is not back, sending it would
	 * be the next OOM kill, and its victim the service (measured). The record stands in the
	 * ring. */
	p->due[DUE_TELL] = now_mono() + TELL_AFTER;
}

/* v1 wakes before it has chosen a victim, and wakes once: look again soon. After a while it was
 * somebody else's, or there was no kill. */
static void look_again(struct pid1 *p)
{
	if (p->plan.flags & PLAN_MEM_V2)
		return;
	if (p->oom_looks < LOOKS)
		p->due[DUE_OOM] = now_mono() + (USEC_PER_MSEC << p->oom_looks++);
	else
		p->run.oom.news = 0;
}

/* Kills whose victim had its time to get the signal: is it the service, its exit record says so. */
static void judge(struct pid1 *p, uint64_t kills)
{
	if (!sys_dying(p->run.child.pidfd)) {
		p->run.oom.others += kills;
		record_kill(p);
	}
	if (p->plan.policy.oom != OOM_CONTINUE)
		p->run.group_killed = relay_everybody(p, SIGKILL) == 0;
}

void oom_look(struct pid1 *p)
{
	struct oom *o = &p->run.oom;
	char text[RAW_BYTES];
	uint64_t more = count(p, text, counter_memory(p, text)), now = now_mono();

	if (p->run.child.pid == 0)
		return; /* the run has ended: its record has counted it, or the next run's base will
			 */
	if (o->fresh && now >= o->judge_at) {
		judge(p, o->fresh);
		o->fresh = 0;
	}
	if (more) {
		o->fresh += more;
		o->judge_at = now + SENT_AFTER;
	}
	if (o->fresh)
		p->due[DUE_OOM] = o->judge_at;
	else
		look_again(p);
}

void oom_event(struct pid1 *p)
{
	if (!(p->plan.flags & PLAN_MEM_V2) && !heard(p))
		return;
	p->oom_looks = 0;
	oom_look(p);
}
