#include "init/reap.h"

#include "init/execs.h"
#include "init/pid1.h"
#include "init/sys.h"
#include "ipc/base/clock.h"

#define TURN_MAX 64

static void reaped(struct pid1 *p, const siginfo_t *info, const struct rusage *ru)
{
	p->shared->reaped++;
	if (info->si_pid == p->run.child.pid)
		run_ended(p, info, ru);
	else if (info->si_pid == p->clean.scrubber)
		p->clean.scrubber = 0;
	else if (!execs_ended(p, info, ru) && p->state == RUN_CLEANUP)
		p->run.record.killed++;
}

void reap_all(struct pid1 *p)
{
	int r, left = TURN_MAX;
	struct rusage ru;
	siginfo_t info;

	do {
		while ((r = sys_wait(&info, &ru, WNOHANG)) > 0) {
			reaped(p, &info, &ru);
			if (--left > 0)
				continue;
			p->due[DUE_REAP] = now_mono(); /* others have their turn first */
			return;
		}
		/* No child at all, not even an orphan: the old run is gone, the next may begin.
		 * Then there is a new child, or a helper, which may have ended already. */
	} while (r == -ECHILD && p->state == RUN_CLEANUP && run_emptied(p));
}
