#include "cli/event_line.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/json.h"
#include "cli/text.h"
#include "cli/when.h"
#include "ipc/base/mem.h"
#include "ipc/base/sig.h"
#include "ipc/exit_text.h"

#define LINE 2304

static void say_exited(char *ret, const Holdfast__V1__Event *e)
{
	char how[256], then[128];

	exit_how(how, sizeof(how), e->exit);
	exit_then(then, sizeof(then), e->exit);
	snprintf(ret, LINE, "run %u: %s; %s", e->exit->run, how, then);
}

static void say_down(char *ret, const Holdfast__V1__Event *e)
{
	char how[256];

	exit_how(how, sizeof(how), e->exit);
	snprintf(ret, LINE, "for good: %s", how);
}

static void say_started(char *ret, const Holdfast__V1__Event *e)
{
	snprintf(ret, LINE, "run %u: pid %d, process 1 is %d", e->run, e->started->pid,
		e->started->init_pid);
}

static void say_launch_failed(char *ret, const Holdfast__V1__Event *e)
{
	snprintf(ret, LINE, "%s: %s", e->launch_failed->step, e->launch_failed->text);
}

static void say_oom(char *ret, const Holdfast__V1__Event *e)
{
	snprintf(ret, LINE, "run %u: a process was killed for lack of memory", e->run);
}

static void say_exits_lost(char *ret, const Holdfast__V1__Event *e)
{
	snprintf(ret, LINE, "run %u: %u exits, nothing else is known of them", e->run,
		e->exit->count);
}

static void say_stopping(char *ret, const Holdfast__V1__Event *e)
{
	char grace[32];

	exit_duration(grace, sizeof(grace), e->stop->grace_usec);
	snprintf(ret, LINE, "%s: %s, killed after %s", *e->stop->by ? e->stop->by : "asked",
		e->stop->signal ? sig_name((int)e->stop->signal) : "stop signal", grace);
}

static void say_supervisor(char *ret, const Holdfast__V1__Event *e)
{
	snprintf(ret, LINE, "shim %d, keeper %d", e->supervisor->shim_pid,
		e->supervisor->keeper_pid);
	if (e->supervisor->revivals)
		snprintf(ret + strlen(ret), 32, ", revival %u", e->supervisor->revivals);
	if (e->supervisor->adopted)
		snprintf(ret + strlen(ret), 32, ", adopted");
}

static void say_output_lost(char *ret, const Holdfast__V1__Event *e)
{
	snprintf(ret, LINE, "%" PRIu64 " bytes of %s before offset %" PRIu64 ": %s",
		e->output_lost->bytes, e->output_lost->stream == 1 ? "stdout" : "stderr",
		e->output_lost->offset, strerror(e->output_lost->error_number));
}

static void say_warning(char *ret, const Holdfast__V1__Event *e)
{
	snprintf(ret, LINE, "%s", e->text);
}

static void say_waiting(char *ret, const Holdfast__V1__Event *e)
{
	char since[32];

	exit_duration(since, sizeof(since), e->waiting->since_usec);
	snprintf(ret, LINE, "%u processes of the run do not die, since %s", e->waiting->processes,
		since);
}

static void say_gap(char *ret, const Holdfast__V1__Event *e)
{
	snprintf(ret, LINE, "%" PRIu64 " events up to %" PRIu64 " are no longer kept", e->missed,
		e->sequence);
}

static void say_health(char *ret, const Holdfast__V1__Event *e)
{
	const Holdfast__V1__HealthChange *h = e->health;

	snprintf(ret, LINE, "run %u: %s%s%s%s%s", e->run, h->source, *h->standing ? " " : "",
		h->standing, *h->text ? ": " : "", h->text);
}

static void say_unhealthy(char *ret, const Holdfast__V1__Event *e)
{
	const Holdfast__V1__HealthChange *h = e->health;
	char grace[32];

	exit_duration(grace, sizeof(grace), h->grace_usec);
	snprintf(ret, LINE, "run %u: ended for %s: %s; %s, killed after %s", e->run, h->source,
		h->text, sig_name((int)h->signal), grace);
}

static void say_rule(char *ret, const Holdfast__V1__Event *e)
{
	const Holdfast__V1__RuleAct *r = e->rule;

	snprintf(ret, LINE, "%s: %s%s%s%s%s", r->rule, r->why, *r->action ? ": " : "", r->action,
		*r->result ? ": " : "", r->result);
}

static void say_exec_started(char *ret, const Holdfast__V1__Event *e)
{
	const Holdfast__V1__ExecStarted *x = e->exec_started;

	if (x->pid > 0)
		snprintf(ret, LINE, "exec %u: pid %d: %s", x->id, x->pid, x->command);
	else
		snprintf(ret, LINE, "exec %u: %s", x->id, x->command);
}

static void say_exec_exited(char *ret, const Holdfast__V1__Event *e)
{
	char how[256];

	exit_how(how, sizeof(how), e->exec_exited->exit);
	snprintf(ret, LINE, "exec %u: %s", e->exec_exited->id, how);
}

static const struct kind {
	const char *name;
	void (*say)(char *ret, const Holdfast__V1__Event *e); /* NULL: the name says it */
	Holdfast__V1__Event__DetailCase detail;		      /* without it: the name alone */
} kinds[] = {
	/* the journal's own (a compaction), or a record of a later release */
	[HOLDFAST__V1__EVENT_TYPE__EVENT_UNSPECIFIED] = {"other", NULL, 0},
	[HOLDFAST__V1__EVENT_TYPE__EVENT_CREATED] = {"created", NULL, 0},
	[HOLDFAST__V1__EVENT_TYPE__EVENT_LAUNCHING] = {"launching", NULL, 0},
	[HOLDFAST__V1__EVENT_TYPE__EVENT_LAUNCHED] = {"launched", NULL, 0},
	[HOLDFAST__V1__EVENT_TYPE__EVENT_LAUNCH_FAILED] = {"launch-failed", say_launch_failed,
		HOLDFAST__V1__EVENT__DETAIL_LAUNCH_FAILED},
	[HOLDFAST__V1__EVENT_TYPE__EVENT_STARTED] = {"started", say_started,
		HOLDFAST__V1__EVENT__DETAIL_STARTED},
	[HOLDFAST__V1__EVENT_TYPE__EVENT_EXITED] = {"exited", say_exited,
		HOLDFAST__V1__EVENT__DETAIL_EXIT},
	[HOLDFAST__V1__EVENT_TYPE__EVENT_OOM] = {"oom", say_oom, 0},
	[HOLDFAST__V1__EVENT_TYPE__EVENT_EXITS_LOST] = {"exits-lost", say_exits_lost,
		HOLDFAST__V1__EVENT__DETAIL_EXIT},
	[HOLDFAST__V1__EVENT_TYPE__EVENT_STOPPING] = {"stopping", say_stopping,
		HOLDFAST__V1__EVENT__DETAIL_STOP},
	[HOLDFAST__V1__EVENT_TYPE__EVENT_SUPERVISOR] = {"supervisor", say_supervisor,
		HOLDFAST__V1__EVENT__DETAIL_SUPERVISOR},
	[HOLDFAST__V1__EVENT_TYPE__EVENT_OUTPUT_LOST] = {"output-lost", say_output_lost,
		HOLDFAST__V1__EVENT__DETAIL_OUTPUT_LOST},
	[HOLDFAST__V1__EVENT_TYPE__EVENT_WARNING] = {"warning", say_warning,
		HOLDFAST__V1__EVENT__DETAIL_TEXT},
	[HOLDFAST__V1__EVENT_TYPE__EVENT_DOWN] = {"down", say_down,
		HOLDFAST__V1__EVENT__DETAIL_EXIT},
	[HOLDFAST__V1__EVENT_TYPE__EVENT_WAITING] = {"waiting", say_waiting,
		HOLDFAST__V1__EVENT__DETAIL_WAITING},
	[HOLDFAST__V1__EVENT_TYPE__EVENT_READY] = {"ready", NULL, 0},
	[HOLDFAST__V1__EVENT_TYPE__EVENT_OPENED] = {"opened", NULL, 0},
	[HOLDFAST__V1__EVENT_TYPE__EVENT_HEALTH] = {"health", say_health,
		HOLDFAST__V1__EVENT__DETAIL_HEALTH},
	[HOLDFAST__V1__EVENT_TYPE__EVENT_UNHEALTHY] = {"unhealthy", say_unhealthy,
		HOLDFAST__V1__EVENT__DETAIL_HEALTH},
	[HOLDFAST__V1__EVENT_TYPE__EVENT_GAP] = {"gap", say_gap,
		HOLDFAST__V1__EVENT__DETAIL_MISSED},
	[HOLDFAST__V1__EVENT_TYPE__EVENT_PAUSED] = {"paused", NULL, 0},
	[HOLDFAST__V1__EVENT_TYPE__EVENT_RESUMED] = {"resumed", NULL, 0},
	[HOLDFAST__V1__EVENT_TYPE__EVENT_UPDATED] = {"updated", say_warning,
		HOLDFAST__V1__EVENT__DETAIL_TEXT},
	[HOLDFAST__V1__EVENT_TYPE__EVENT_EXEC_STARTED] = {"exec-started", say_exec_started,
		HOLDFAST__V1__EVENT__DETAIL_EXEC_STARTED},
	[HOLDFAST__V1__EVENT_TYPE__EVENT_EXEC_EXITED] = {"exec-exited", say_exec_exited,
		HOLDFAST__V1__EVENT__DETAIL_EXEC_EXITED},
	[HOLDFAST__V1__EVENT_TYPE__EVENT_RULE_FIRED] = {"rule-fired", say_rule,
		HOLDFAST__V1__EVENT__DETAIL_RULE},
	[HOLDFAST__V1__EVENT_TYPE__EVENT_RULE_ACTION] = {"rule-action", say_rule,
		HOLDFAST__V1__EVENT__DETAIL_RULE},
	[HOLDFAST__V1__EVENT_TYPE__EVENT_RULE_DONE] = {"rule-done", say_rule,
		HOLDFAST__V1__EVENT__DETAIL_RULE},
	[HOLDFAST__V1__EVENT_TYPE__EVENT_RULE_CLEARED] = {"rule-cleared", say_rule,
		HOLDFAST__V1__EVENT__DETAIL_RULE},
};

void event_line(const char *id, const Holdfast__V1__Event *e)
{
	const struct kind *k = (unsigned)e->type < array_size(kinds) ? &kinds[e->type] : NULL;
	char when[WHEN_TEXT] = "-", name[32], what[LINE] = "", shown[4 * LINE];
	bool known = k && k->name;

	/* of a later release: without its line a sequence would be missing */
	if (known)
		snprintf(name, sizeof(name), "%s", k->name);
	else
		snprintf(name, sizeof(name), "event-%d", (int)e->type);
	if (e->time_usec)
		when_text(when, e->time_usec);
	if (known && k->say && (!k->detail || k->detail == e->detail_case))
		k->say(what, e);
	text_escape(shown, sizeof(shown), what, strlen(what));
	printf("%-27s %s %" PRIu64 " %s%s%s%s\n", when, id, e->sequence, name, *shown ? " " : "",
		shown, e->inferred ? " (inferred)" : "");
}

void event_line_json(const char *id, uint64_t instance, const Holdfast__V1__Event *e)
{
	bool first = true;

	putchar('{');
	json_name(&first, "id");
	json_text(id);
	json_name(&first, "cursor");
	printf("\"%" PRIu64 ":%" PRIu64 "\"", instance, e->sequence);
	json_fields(&first, &e->base, NULL, NULL);
	fputs("}\n", stdout);
}
