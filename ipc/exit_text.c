#include "ipc/exit_text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ipc/base/clock.h"
#include "ipc/base/mem.h"
#include "ipc/base/sig.h"
#include "ipc/verbs.h"

struct out {
	char *text;
	size_t size, len;
};

static void add(struct out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct out *o, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(o->text + o->len, o->size - o->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		o->len += (size_t)n < o->size - o->len ? (size_t)n : o->size - o->len - 1;
}

void exit_duration(char *ret, size_t size, uint64_t usec)
{
	if (usec >= USEC_PER_SEC)
		snprintf(ret, size, "%.4g s", (double)usec / (double)USEC_PER_SEC);
	else if (usec >= USEC_PER_MSEC)
		snprintf(ret, size, "%" PRIu64 " ms", (uint64_t)(usec / USEC_PER_MSEC));
	else
		snprintf(ret, size, "%" PRIu64 " us", usec);
}

void exit_how(char *ret, size_t size, const Holdfast__V1__Exit *e)
{
	struct out o = {.text = ret, .size = size};

	if (e->start_failed)
		add(&o, "could not be started: %s",
			e->error_number ? strerror(e->error_number) : "nobody knows why");
	else if (e->unknown)
		add(&o, "nobody saw how");
	else if (e->signal)
		add(&o, "killed by %s", sig_name((int)e->signal));
	else
		add(&o, "exit code %u", e->code);
	if (e->core_dumped)
		add(&o, ", core dumped");
	if (e->oom)
		add(&o, ", out of memory");
	if (e->group_killed)
		add(&o, ", the rest killed as well");
	if (e->stopped)
		add(&o, ", after a stop");
	if (e->count > 1)
		add(&o, ", %u times", e->count);
}

void exit_then(char *ret, size_t size, const Holdfast__V1__Exit *e)
{
	static const char *const why[] = {
		[HOLDFAST__V1__REASON__REASON_STOPPED] = "a stop was asked for",
		[HOLDFAST__V1__REASON__REASON_POLICY] = "the restart policy does not answer it",
		[HOLDFAST__V1__REASON__REASON_OOM_STOP] = "--oom-policy stop",
		[HOLDFAST__V1__REASON__REASON_BUDGET] = "the restart budget is used up",
	};
	const char *reason = (unsigned)e->reason < array_size(why) ? why[e->reason] : NULL;
	char delay[32];

	if (e->verdict == HOLDFAST__V1__VERDICT__VERDICT_STAY_DOWN) {
		snprintf(ret, size, "stays down%s%s", reason ? ": " : "", reason ? reason : "");
		return;
	}
	exit_duration(delay, sizeof(delay), e->delay_usec);
	snprintf(ret, size, "next run %s%s%s",
		e->verdict == HOLDFAST__V1__VERDICT__VERDICT_IN_PLACE ? "in place"
								      : "in a new sandbox",
		e->delay_usec ? " after " : " at once", e->delay_usec ? delay : "");
}

const char *exit_asked_by(uint32_t verb)
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
		return NULL;
	}
}
