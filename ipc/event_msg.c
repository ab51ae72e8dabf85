#include "ipc/event_msg.h"

#include <stdio.h>
#include <string.h>

#include "ipc/base/mem.h"
#include "ipc/exec_plan.h"
#include "ipc/exit_text.h"
#include "ipc/health.h"
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

static char *unconst(const char *text)
{
	return (char *)(uintptr_t)text; /* packing does not write to it */
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

static void stop_detail(struct event_msg *e, const struct record *r)
{
	const char *by;
	struct rec_stop b;

	body(&b, sizeof(b), r);
	holdfast__v1__stop_asked__init(&e->detail.stop);
	e->detail.stop.signal = b.signo;
	e->detail.stop.grace_usec = b.grace_usec;
	by = exit_asked_by(b.what);
	snprintf(e->text, sizeof(e->text), "%s", by ? by : "");
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
	e->detail.supervisor.adopted = b.adopted;
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

static void exec_started_detail(struct event_msg *e, const struct record *r)
{
	struct rec_exec b;

	body(&b, sizeof(b), r);
	b.command[sizeof(b.command) - 1] = '\0';
	msg_text(e->text, sizeof(e->text), b.command);
	holdfast__v1__exec_started__init(&e->detail.exec_started);
	e->detail.exec_started.id = b.id;
	e->detail.exec_started.pid = b.pid;
	e->detail.exec_started.command = e->text;
	e->detail.exec_started.terminal = b.flags & EXEC_TTY;
	e->event.detail_case = HOLDFAST__V1__EVENT__DETAIL_EXEC_STARTED;
	e->event.exec_started = &e->detail.exec_started;
}

static void exec_exited_detail(struct event_msg *e, const struct record *r)
{
	struct rec_exec_exit b;

	body(&b, sizeof(b), r);
	event_exit(&e->detail.exec_exit, &b.exit);
	holdfast__v1__exec_exited__init(&e->detail.exec_exited);
	e->detail.exec_exited.id = b.id;
	e->detail.exec_exited.exit = &e->detail.exec_exit;
	e->event.detail_case = HOLDFAST__V1__EVENT__DETAIL_EXEC_EXITED;
	e->event.exec_exited = &e->detail.exec_exited;
}

const char *health_source_name(uint32_t source, uint32_t kind)
{
	switch (source) {
	case HEALTH_BY_WATCHDOG:
		return "watchdog";
	case HEALTH_BY_START:
		return "start-timeout";
	case HEALTH_BY_PROBE:
		return probe_kind_name(kind);
	case HEALTH_BY_SERVICE:
		return "service";
	default: /* of a later release */
		return "";
	}
}

static void health_detail(struct event_msg *e, const struct record *r)
{
	Holdfast__V1__HealthChange *m = &e->detail.health;
	struct rec_health b;

	body(&b, sizeof(b), r);
	b.text[sizeof(b.text) - 1] = '\0';
	msg_text(e->text, sizeof(e->text), b.text);
	holdfast__v1__health_change__init(m);
	m->source = unconst(health_source_name(b.source, b.kind));
	m->standing = unconst(b.source == HEALTH_BY_SERVICE ? service_said_name(b.standing)
							    : probe_standing_name(b.standing));
	m->count = b.count;
	m->text = e->text;
	m->signal = b.signo;
	m->grace_usec = b.grace_usec;
	e->event.detail_case = HOLDFAST__V1__EVENT__DETAIL_HEALTH;
	e->event.health = m;
}

/* The name of a signal is the monitor's to know: its sentence begins with it. */
static void signal_of(char *ret, size_t size, const char *why)
{
	snprintf(ret, size, "%.*s", (int)strcspn(why, " "), why);
}

static void rule_detail(struct event_msg *e, const struct record *r)
{
	Holdfast__V1__RuleAct *m = &e->detail.rule;
	struct rec_rule b;

	body(&b, sizeof(b), r);
	b.rule[sizeof(b.rule) - 1] = b.why[sizeof(b.why) - 1] = b.what[sizeof(b.what) - 1] = '\0';
	holdfast__v1__rule_act__init(m);
	msg_text(e->rule[0], sizeof(e->rule[0]), b.rule);
	msg_text(e->rule[1], sizeof(e->rule[1]), b.why);
	signal_of(e->rule[2], sizeof(e->rule[2]), e->rule[1]);
	msg_text(e->rule[3], sizeof(e->rule[3]), b.what);
	m->rule = e->rule[0];
	m->why = e->rule[1];
	m->signal = e->rule[2];
	m->action = e->rule[3];
	m->value = b.value;
	m->threshold = b.threshold;
	m->error_number = -b.err;
	e->event.detail_case = HOLDFAST__V1__EVENT__DETAIL_RULE;
	e->event.rule = m;
}

/* Behind the action's name and ": " stands what came of it. */
static void rule_done_detail(struct event_msg *e, const struct record *r)
{
	char *result;

	rule_detail(e, r);
	result = strstr(e->rule[3], ": ");
	if (!result)
		return;
	*result = '\0';
	e->detail.rule.result = result + 2;
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
	[RECORD_READY] = {HOLDFAST__V1__EVENT_TYPE__EVENT_READY, NULL},
	[RECORD_OPENED] = {HOLDFAST__V1__EVENT_TYPE__EVENT_OPENED, NULL},
	[RECORD_GAP] = {HOLDFAST__V1__EVENT_TYPE__EVENT_GAP, NULL}, /* how many: event_gap() */
	[RECORD_PAUSED] = {HOLDFAST__V1__EVENT_TYPE__EVENT_PAUSED, NULL},
	[RECORD_RESUMED] = {HOLDFAST__V1__EVENT_TYPE__EVENT_RESUMED, NULL},
	[RECORD_UPDATED] = {HOLDFAST__V1__EVENT_TYPE__EVENT_UPDATED, warning_detail},
	[RECORD_EXEC_STARTED] = {HOLDFAST__V1__EVENT_TYPE__EVENT_EXEC_STARTED, exec_started_detail},
	[RECORD_EXEC_EXITED] = {HOLDFAST__V1__EVENT_TYPE__EVENT_EXEC_EXITED, exec_exited_detail},
	[RECORD_RULE_FIRED] = {HOLDFAST__V1__EVENT_TYPE__EVENT_RULE_FIRED, rule_detail},
	[RECORD_RULE_ACTION] = {HOLDFAST__V1__EVENT_TYPE__EVENT_RULE_ACTION, rule_detail},
	[RECORD_RULE_DONE] = {HOLDFAST__V1__EVENT_TYPE__EVENT_RULE_DONE, rule_done_detail},
	[RECORD_RULE_CLEARED] = {HOLDFAST__V1__EVENT_TYPE__EVENT_RULE_CLEARED, rule_detail},
	[RECORD_HEALTH] = {HOLDFAST__V1__EVENT_TYPE__EVENT_HEALTH, health_detail},
	[RECORD_UNHEALTHY] = {HOLDFAST__V1__EVENT_TYPE__EVENT_UNHEALTHY, health_detail},
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
