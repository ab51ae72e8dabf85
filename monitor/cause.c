#include "monitor/cause.h"

#include <stdio.h>

#include "ipc/event_msg.h"
#include "ipc/exit_text.h"

/* What the kernel killed before is the kernel's, whatever was asked for meanwhile. */
static bool by_rule(const struct ending *end)
{
	return end->rule.run && end->rule.run == end->e.run;
}

/* A kill that took others ends the service by its policy, or not at all. */
static bool by_oom(const struct exit_info *e)
{
	return e->flags & EXIT_OOM_SEEN && e->signal == 9 &&
	       (!(e->flags & EXIT_OOM_OTHERS) || e->flags & EXIT_GROUP_KILLED);
}

static const char *whose(uint32_t flags)
{
	switch (flags & EXIT_OOM_WHOSE) {
	case EXIT_OOM_GROUP:
		return "a group around the container ran out of memory";
	case EXIT_OOM_HOST:
		return "the host ran out of memory";
	case EXIT_OOM_GROUP | EXIT_OOM_HOST:
		return "the host, or a group around the container, ran out of memory";
	default:
		return "the memory limit was reached";
	}
}

static const char *who(const struct ending *end)
{
	const struct exit_info *e = &end->e;
	const char *name = end->asked.run == e->run ? exit_asked_by(end->asked.what) : NULL;

	if (name)
		return name;
	if (e->flags & EXIT_STOPPED)
		return "a signal to process 1"; /* a host that shuts down, somebody's kill(1) */
	if (!by_oom(e))
		return "";
	return e->flags & EXIT_OOM_OTHERS ? "--oom-policy" : "the kernel";
}

static const char *why(const struct ending *end)
{
	const struct exit_info *e = &end->e;
	const struct asked *asked = &end->asked;

	if (asked->run == e->run && asked->what == CLIENT_RESTART)
		return "a restart was asked for";
	if (e->flags & EXIT_STOPPED)
		return "a stop was asked for";
	if (e->flags & EXIT_START_FAILED)
		return "the start failed";
	if (by_oom(e))
		return whose(e->flags);
	if (e->flags & EXIT_INFERRED)
		return "process 1 or the supervisors died";
	if (e->signal)
		return e->flags & EXIT_CORE || e->signal != 9 ? "the service crashed"
							      : "somebody killed the service";
	return e->code ? "the service failed" : "the service was done";
}

/* What was found wrong is the cause; the signal that ended it is only the means. */
static bool for_health(const struct ending *end)
{
	return end->unhealthy.run && end->unhealthy.run == end->e.run &&
	       !(end->e.flags & EXIT_STOPPED);
}

static void unhealthy(struct cause *ret, const struct unhealthy *u, const char *how)
{
	snprintf(ret->text, sizeof(ret->text), "%.120s: %.64s", u->text, how);
	snprintf(ret->by, sizeof(ret->by), u->source == HEALTH_BY_PROBE ? "its %s probe" : "the %s",
		health_source_name(u->source, u->kind));
}

void cause_of(struct cause *ret, const struct ending *end)
{
	Holdfast__V1__Exit m;
	char how[128];

	event_exit(&m, &end->e);
	m.stopped = 0; /* said already */
	if (end->e.signal == 9)
		m.oom = 0;
	exit_how(how, sizeof(how), &m);
	if (by_rule(end)) {
		snprintf(ret->text, sizeof(ret->text), "%.90s: %.90s", end->rule.why, how);
		snprintf(ret->by, sizeof(ret->by), "rule %s", end->rule.rule);
		return;
	}
	if (for_health(end)) {
		unhealthy(ret, &end->unhealthy, how);
		return;
	}
	snprintf(ret->text, sizeof(ret->text), "%s: %s", why(end), how);
	snprintf(ret->by, sizeof(ret->by), "%s", who(end));
}
