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
#define LOOKS	   10 /* 1 + 2 + 4 + ... ms: a second in all */

static void record_kill(struct pid1 *p, uint64_t kills)
{
	struct exit_record r = {
		.kind = EXIT_OOM,
		.run = p->shared->run,
		.flags = EXIT_OOM_SEEN,
		.pid = p->run.child.pid,
		.boot_start = p->run.record.boot_start,
		.boot_end = now_boot(),
		.oom_kills = kills,
	};

	counters_read(p, &r);
	ring_write(p->shared, PLAN_FD_SHARED, &r);
	/* A packet is charged to us, too: while the victim's memory is not back, sending it would
	 * be the next OOM kill, and its victim the service (measured). The record stands in the
	 * ring. */
	p->due[DUE_TELL] = now_mono() + TELL_AFTER;
}

void oom_look(struct pid1 *p)
{
	uint64_t kills = counter_oom_now(p);

	if (kills <= p->shared->oom_kills) {
		/* v1 wakes before it has chosen a victim, and wakes once: look again soon. */
		if (!(p->plan.flags & PLAN_MEM_V2) && p->oom_looks < LOOKS)
			p->due[DUE_OOM] = now_mono() + (USEC_PER_MSEC << p->oom_looks++);
		return;
	}
	p->shared->oom_kills = kills;
	if (p->run.child.pid == 0)
		return; /* the run has ended: its record has counted it, or the next run's base will
			 */
	/* The service itself may be the victim and not a zombie yet: its exit record says OOM then.
	 */
	if (!sys_dying(p->run.child.pidfd))
		record_kill(p, kills);
	if (p->plan.policy.oom == OOM_CONTINUE)
		return;
	p->run.group_killed = relay_everybody(p, SIGKILL) == 0;
}

void oom_event(struct pid1 *p)
{
	uint64_t count;

	if (!(p->plan.flags & PLAN_MEM_V2) && read(PLAN_FD_OOM_EVENT, &count, sizeof(count)) < 0)
		return;
	p->oom_looks = 0;
	oom_look(p);
}
