#include "init/pid1.h"

#include <poll.h>
#include <string.h>
#include <time.h>

#include "init/behind.h"
#include "init/boot.h"
#include "init/oom.h"
#include "init/reap.h"
#include "init/relay.h"
#include "init/report.h"
#include "init/sys.h"
#include "init/verb.h"
#include "ipc/base/clock.h"

enum source {
	FROM_SIGNALS,
	FROM_RESULT,
	FROM_CHANNEL,
	FROM_OOM,
	FROM_DOOR,
	FROM_OUTPUT, /* one for each stream */
	SOURCES = FROM_OUTPUT + STREAMS,
};

void pid1_set_state(struct pid1 *p, enum run_state state)
{
	p->state = state;
	p->shared->state = state;
}

static void due_kill(struct pid1 *p)
{
	if (relay_everybody(p, SIGKILL) < 0)
		relay_service(p, SIGKILL);
}

static void (*const on_due[DUES])(struct pid1 *p) = {
	[DUE_START] = run_start,
	[DUE_KILL] = due_kill,
	[DUE_RECORD] = run_overdue,
	[DUE_STUCK] = run_stuck,
	[DUE_REAP] = reap_all,
	[DUE_OOM] = oom_look,
	[DUE_TELL] = report_record,
	[DUE_RESULT] = run_settled,
	[DUE_NEST] = run_calm,
};

static void handle_due(struct pid1 *p)
{
	for (int i = 0; i < DUES; i++) {
		if (!p->due[i] || p->due[i] > now_mono())
			continue;
		p->due[i] = 0;
		on_due[i](p);
	}
}

static uint64_t earliest(const struct pid1 *p)
{
	uint64_t t = 0;

	for (int i = 0; i < DUES; i++)
		if (p->due[i] && (!t || p->due[i] < t))
			t = p->due[i];
	return t;
}

/* v1 tells by an eventfd, v2 by an exceptional condition of the counter file. */
static struct pollfd oom_source(const struct pid1 *p)
{
	if (p->plan.flags & PLAN_MEM_V2)
		return (struct pollfd){pid1_has(p, PLAN_FD_MEM) ? PLAN_FD_MEM : -1, POLLPRI, 0};
	return (struct pollfd){pid1_has(p, PLAN_FD_OOM_EVENT) ? PLAN_FD_OOM_EVENT : -1, POLLIN, 0};
}

/* Sleeps until something happens or is due. Never wakes without a reason. */
static void wait_for_events(const struct pid1 *p, struct pollfd fds[SOURCES])
{
	uint64_t until = earliest(p), now = until ? now_mono() : 0, left;
	struct timespec ts;

	fds[FROM_SIGNALS] = (struct pollfd){p->signals, POLLIN, 0};
	fds[FROM_RESULT] =
		(struct pollfd){p->due[DUE_RESULT] ? -1 : p->run.child.result, POLLIN, 0};
	fds[FROM_CHANNEL] = (struct pollfd){p->connected ? PLAN_FD_CHANNEL : -1, POLLIN, 0};
	fds[FROM_OOM] = oom_source(p);
	fds[FROM_DOOR] = (struct pollfd){
		!p->connected && pid1_has(p, PLAN_FD_DOOR) ? PLAN_FD_DOOR : -1, POLLIN, 0};
	for (int i = 0; i < STREAMS; i++)
		fds[FROM_OUTPUT + i] = (struct pollfd){spool_source(p, i), POLLIN, 0};
	left = until > now ? until - now : 0;
	ts.tv_sec = (time_t)(left / USEC_PER_SEC);
	ts.tv_nsec = (long)(left % USEC_PER_SEC * 1000);
	if (ppoll(fds, SOURCES, until ? &ts : NULL, NULL) < 0)
		for (int i = 0; i < SOURCES; i++)
			fds[i].revents = 0;
}

/* Deaths come before requests and before the OOM counter: a service that was killed for lack of
 * memory is an exit, not an event beside it. */
static void handle_events(struct pid1 *p, const struct pollfd fds[SOURCES])
{
	if (fds[FROM_RESULT].revents && p->run.child.result >= 0)
		run_result(p);
	if (fds[FROM_SIGNALS].revents && relay_read(p))
		reap_all(p);
	if (fds[FROM_CHANNEL].revents)
		verb_turn(p);
	if (fds[FROM_OOM].revents)
		oom_event(p);
	if (fds[FROM_DOOR].revents)
		door_answer(p);
	for (int i = 0; i < STREAMS; i++)
		if (fds[FROM_OUTPUT + i].revents)
			spool_turn(p, i);
}

static bool done(const struct pid1 *p)
{
	return p->quit || (p->state == RUN_DOWN && p->shared->acked >= p->shared->head);
}

/* Of what lies behind the first, for it ends with what is hardly used. */
struct pid1 pid1 BEHIND;

int pid1_main(void)
{
	struct pid1 *p = &pid1;
	struct pollfd fds[SOURCES];

	run_init(&p->run);
	p->old_pidfd = -1;
	output_init(&p->output);
	spool_init(&p->spool);
	if (boot(p) < 0)
		return 125;
	clean_baseline(p);
	p->connected = true;
	pid1_set_state(p, RUN_NONE);
	report_hello(p);
	/* No exit past this line, but for a container that is down, or was never begun. */
	while (!done(p)) {
		spool_settle(p);
		wait_for_events(p, fds);
		handle_events(p, fds);
		handle_due(p);
	}
	return p->quit ? 125 : 0;
}
