#include "ipc/event_msg.h"

#include <stdio.h>
#include <string.h>

#include "ipc/base/mem.h"
#include "ipc/msg.h"

#define KIB 1024u

/* Copies a body: a shorter one (of an older writer) is zero-filled, strings end in their arrays. */
static void body(void *ret, size_t size, const struct record *r)
{
	memset(ret, 0, size);
	memcpy(ret, record_body(r), r->body_len < size ? r->body_len : size);
}

void event_exit(Holdfast__V1__Exit *ret, const struct exit_info *x)
{
	holdfast__v1__exit__init(ret);
	ret->run = x->run;
	ret->code = x->code;
	ret->signal = x->signal;
	ret->core_dumped = x->flags & EXIT_CORE;
	ret->unknown = (x->flags & EXIT_UNKNOWN) != 0;
	ret->oom = (x->flags & EXIT_OOM_SEEN) != 0;
	ret->healthy = (x->flags & EXIT_HEALTHY) != 0;
	ret->stopped = (x->flags & EXIT_STOPPED) != 0;
	ret->start_failed = (x->flags & EXIT_START_FAILED) != 0;
	ret->group_killed = (x->flags & EXIT_GROUP_KILLED) != 0;
	ret->error_number = x->errnum;
	ret->step = x->step;
	ret->count = x->count;
	ret->killed = x->killed;
	ret->verdict = (Holdfast__V1__Verdict)x->action;
	ret->reason = (Holdfast__V1__Reason)x->reason;
	ret->delay_usec = x->delay_usec;
	ret->start_boottime_usec = x->boot_start;
	ret->end_boottime_usec = x->boot_end;
	ret->end_time_usec = x->real_end;
	ret->user_usec = x->utime_usec;
	ret->system_usec = x->stime_usec;
	ret->maxrss_bytes = x->maxrss_kib * KIB;
	ret->stdout_end = x->stdout_end;
	ret->stderr_end = x->stderr_end;
	ret->restarts = x->restarts;
	ret->exit_sequence = x->seq;
}

static void exit_detail(struct event_msg *e, const struct record *r)
{
	struct exit_info x;

	body(&x, sizeof(x), r);
	event_exit(&e->detail.exit, &x);
	e->event.detail_case = HOLDFAST__V1__EVENT__DETAIL_EXIT;
	e->event.exit = &e->detail.exit;
}

static void started_detail(struct event_msg *e, const struct record *r)
{
	struct rec_started b;

	body(&b, sizeof(b), r);
	holdfast__v1__started__init(&e->detail.started);
	e->detail.started.pid = b.pid;
	e->detail.started.init_pid = b.init_pid;
	e->event.detail_case = HOLDFAST__V1__EVENT__DETAIL_STARTED;
	e->event.started = &e->detail.started;
}

static void launch_failed_detail(struct event_msg *e, const struct record *r)
{
	struct launch_result b;

	body(&b, sizeof(b), r);
	b.step[sizeof(b.step) - 1] = b.text[sizeof(b.text) - 1] = '\0';
	msg_text(e->step, sizeof(e->step), b.step);
	msg_text(e->text, sizeof(e->text), b.text);
	holdfast__v1__launch_failed__init(&e->detail.launch_failed);
	e->detail.launch_failed.step = e->step;
	e->detail.launch_failed.text = e->text;
	e->detail.launch_failed.error_number = -b.err;
	e->event.detail_case = HOLDFAST__V1__EVENT__DETAIL_LAUNCH_FAILED;
	e->event.launch_failed = &e->detail.launch_failed;
}

static const char *asked_by(uint32_t verb)
{
	switch (verb) {
	case CLIENT_STOP:
		return "stop";
	case CLIENT_RESTART:
		return "restart";
	case CLIENT_SIGNAL:
		return "kill";
	case CLIENT_REMOVE:
		return "remove";
	default:
		return "";
	}
}

static void stop_detail(struct event_msg *e, const struct record *r)
{
	struct rec_stop b;

	body(&b, sizeof(b), r);
	holdfast__v1__stop_asked__init(&e->detail.stop);
	e->detail.stop.signal = b.signo;
	e->detail.stop.grace_usec = b.grace_usec;
	snprintf(e->text, sizeof(e->text), "%s", asked_by(b.what));
	e->detail.stop.by = e->text;
	e->event.detail_case = HOLDFAST__V1__EVENT__DETAIL_STOP;
	e->event.stop = &e->detail.stop;
}

static void supervisor_detail(struct event_msg *e, const struct record *r)
{
	struct rec_shim b;

	body(&b, sizeof(b), r);
	holdfast__v1__supervising__init(&e->detail.supervisor);
	e->detail.supervisor.shim_pid = b.shim_pid;
	e->detail.supervisor.keeper_pid = b.keeper_pid;
	e->detail.supervisor.revivals = b.revivals;
	e->event.detail_case = HOLDFAST__V1__EVENT__DETAIL_SUPERVISOR;
	e->event.supervisor = &e->detail.supervisor;
}

static void output_lost_detail(struct event_msg *e, const struct record *r)
{
	struct rec_gap b;

	body(&b, sizeof(b), r);
	holdfast__v1__output_lost__init(&e->detail.output_lost);
	e->detail.output_lost.stream = b.stream;
	e->detail.output_lost.offset = b.offset;
	e->detail.output_lost.bytes = b.bytes;
	e->detail.output_lost.error_number = b.err < 0 ? -b.err : b.err;
	e->event.detail_case = HOLDFAST__V1__EVENT__DETAIL_OUTPUT_LOST;
	e->event.output_lost = &e->detail.output_lost;
}

static void warning_detail(struct event_msg *e, const struct record *r)
{
	char text[sizeof(e->text)];

	body(text, sizeof(text), r);
	text[sizeof(text) - 1] = '\0';
	msg_text(e->text, sizeof(e->text), text);
	e->event.detail_case = HOLDFAST__V1__EVENT__DETAIL_TEXT;
	e->event.text = e->text;
}

static void waiting_detail(struct event_msg *e, const struct record *r)
{
	struct init_waiting b;

	body(&b, sizeof(b), r);
	holdfast__v1__waiting__init(&e->detail.waiting);
	e->detail.waiting.processes = b.left;
	e->detail.waiting.since_usec = b.since_usec;
	e->event.detail_case = HOLDFAST__V1__EVENT__DETAIL_WAITING;
	e->event.waiting = &e->detail.waiting;
}

static const struct {
	Holdfast__V1__EventType type;
	void (*detail)(struct event_msg *e, const struct record *r);
} kinds[] = {
	[RECORD_CREATED] = {HOLDFAST__V1__EVENT_TYPE__EVENT_CREATED, NULL},
	[RECORD_LAUNCH_INTENT] = {HOLDFAST__V1__EVENT_TYPE__EVENT_LAUNCHING, NULL},
	[RECORD_LAUNCHED] = {HOLDFAST__V1__EVENT_TYPE__EVENT_LAUNCHED, NULL},
	[RECORD_LAUNCH_FAILED] = {HOLDFAST__V1__EVENT_TYPE__EVENT_LAUNCH_FAILED,
		launch_failed_detail},
	[RECORD_STARTED] = {HOLDFAST__V1__EVENT_TYPE__EVENT_STARTED, started_detail},
	[RECORD_EXITED] = {HOLDFAST__V1__EVENT_TYPE__EVENT_EXITED, exit_detail},
	[RECORD_OOM] = {HOLDFAST__V1__EVENT_TYPE__EVENT_OOM, exit_detail},
	[RECORD_EXIT_GAP] = {HOLDFAST__V1__EVENT_TYPE__EVENT_EXITS_LOST, exit_detail},
	[RECORD_STOP_INTENT] = {HOLDFAST__V1__EVENT_TYPE__EVENT_STOPPING, stop_detail},
	[RECORD_SHIM] = {HOLDFAST__V1__EVENT_TYPE__EVENT_SUPERVISOR, supervisor_detail},
	[RECORD_KEEPER] = {HOLDFAST__V1__EVENT_TYPE__EVENT_SUPERVISOR, supervisor_detail},
	[RECORD_OUTPUT_GAP] = {HOLDFAST__V1__EVENT_TYPE__EVENT_OUTPUT_LOST, output_lost_detail},
	[RECORD_WARNING] = {HOLDFAST__V1__EVENT_TYPE__EVENT_WARNING, warning_detail},
	[RECORD_DOWN] = {HOLDFAST__V1__EVENT_TYPE__EVENT_DOWN, exit_detail},
	[RECORD_WAITING] = {HOLDFAST__V1__EVENT_TYPE__EVENT_WAITING, waiting_detail},
};

void event_from_record(struct event_msg *e, const struct record *r)
{
	holdfast__v1__event__init(&e->event);
	e->event.sequence = r->seq;
	e->event.run = r->run;
	e->event.boottime_usec = r->boot_usec;
	e->event.time_usec = r->real_usec;
	e->event.inferred = (r->flags & RECORD_INFERRED) != 0;
	if (r->type >= array_size(kinds))
		return;
	e->event.type = kinds[r->type].type;
	if (kinds[r->type].detail)
		kinds[r->type].detail(e, r);
}

void event_gap(struct event_msg *e, uint64_t sequence, uint64_t missed)
{
	holdfast__v1__event__init(&e->event);
	e->event.sequence = sequence;
	e->event.type = HOLDFAST__V1__EVENT_TYPE__EVENT_GAP;
	e->event.detail_case = HOLDFAST__V1__EVENT__DETAIL_MISSED;
	e->event.missed = missed;
}

Holdfast__V1__Phase event_phase(enum life_state s)
{
	static const Holdfast__V1__Phase phases[LIFE_STATES] = {
		[LIFE_NEW] = HOLDFAST__V1__PHASE__PHASE_CREATED,
		[LIFE_LAUNCHING] = HOLDFAST__V1__PHASE__PHASE_STARTING,
		[LIFE_LAUNCHED] = HOLDFAST__V1__PHASE__PHASE_STARTING,
		[LIFE_RUNNING] = HOLDFAST__V1__PHASE__PHASE_RUNNING,
		[LIFE_BACKOFF] = HOLDFAST__V1__PHASE__PHASE_RESTARTING,
		[LIFE_STOPPING] = HOLDFAST__V1__PHASE__PHASE_STOPPING,
		[LIFE_DOWN] = HOLDFAST__V1__PHASE__PHASE_EXITED,
		[LIFE_REMOVED] = HOLDFAST__V1__PHASE__PHASE_EXITED,
	};

	return (unsigned)s < LIFE_STATES ? phases[s] : HOLDFAST__V1__PHASE__PHASE_UNSPECIFIED;
}
