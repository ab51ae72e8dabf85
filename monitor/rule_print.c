/* Rules as text: complete, so that the parser takes it back, and in words. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ipc/base/clock.h"
#include "ipc/base/sig.h"
#include "monitor/rule_text.h"

#define PERCENT 100u

struct out {
	char *buf;
	size_t size, len;
};

__attribute__((format(printf, 2, 3))) static void put(struct out *o, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(o->buf + o->len, o->size - o->len, fmt, ap);
	va_end(ap);
	o->len = n > 0 && (size_t)n < o->size - o->len ? o->len + (size_t)n : o->size - 1;
}

static void put_time(struct out *o, uint64_t usec)
{
	if (usec % (60 * USEC_PER_SEC) == 0 && usec)
		put(o, "%llum", usec / (60 * USEC_PER_SEC));
	else if (usec % USEC_PER_SEC == 0)
		put(o, "%llus", usec / USEC_PER_SEC);
	else if (usec % USEC_PER_MSEC == 0)
		put(o, "%llums", usec / USEC_PER_MSEC);
	else
		put(o, "%" PRIu64 "us", usec);
}

static void put_value(struct out *o, enum rule_signal s, uint64_t v)
{
	if (signal_info(s)->kind == KIND_RATE)
		put(o, "%" PRIu64 "/s", v); /* exact: it is read again */
	else if (!signal_is_percent(s))
		put(o, "%" PRIu64, v);
	else if (v % PERCENT)
		put(o, "%" PRIu64 ".%02" PRIu64 "%%", v / PERCENT, v % PERCENT);
	else
		put(o, "%" PRIu64 "%%", v / PERCENT);
}

/* libc keeps some numbers for itself: those have no names. */
static void put_signal(struct out *o, int signo)
{
	if (sig_parse(sig_name(signo)) == signo)
		put(o, "(%s)", sig_name(signo));
	else
		put(o, "(%d)", signo);
}

static void put_step(struct out *o, const struct rule *r, const struct rule_step *s)
{
	put(o, "%s", rule_action_name((enum rule_action)s->action));
	if (s->action == ACTION_NOTIFY && s->arg)
		put_signal(o, (int)s->arg);
	else if (s->action == ACTION_THROTTLE)
		put(o, "(%" PRIu64 "%%)", s->arg);
	else if (s->action == ACTION_DUMP && s->arg)
		put(o, "(%s)", r->hook);
	else if (s->action == ACTION_FREEZE ||
		 ((s->action == ACTION_RESTART || s->action == ACTION_STOP) &&
			 s->arg != RULE_GRACE_STD)) {
		put(o, "(");
		put_time(o, s->arg);
		put(o, ")");
	}
}

void rule_step_text(const struct rule *r, unsigned step_at, char *buf, size_t size)
{
	struct out o = {.buf = buf, .size = size};

	buf[0] = '\0';
	if (step_at < r->steps_len)
		put_step(&o, r, &r->steps[step_at]);
}

void rule_print(const struct rule *r, char *buf, size_t size)
{
	struct out o = {.buf = buf, .size = size};
	enum rule_signal s = (enum rule_signal)r->signal;

	put(&o, "%s: %s %s ", r->name, signal_info(s)->name, r->or_equal ? ">=" : ">");
	put_value(&o, s, r->threshold);
	if (r->window_usec) {
		put(&o, " over ");
		put_time(&o, r->window_usec);
	}
	put(&o, " for ");
	put_time(&o, r->for_usec);
	for (unsigned i = 0; i < r->steps_len; i++) {
		put(&o, "%s", i ? ", " : ": ");
		if (r->steps[i].pause_usec) {
			put_time(&o, r->steps[i].pause_usec);
			put(&o, ", ");
		}
		put_step(&o, r, &r->steps[i]);
	}
	put(&o, "; cooldown ");
	put_time(&o, r->cooldown_usec);
	put(&o, "; clear ");
	put_value(&o, s, r->clear);
	if (r->limit_n) {
		put(&o, "; limit %u/", r->limit_n);
		put_time(&o, r->limit_usec);
	}
}

void rule_why(const struct rule *r, uint64_t v, char *buf, size_t size)
{
	struct out o = {.buf = buf, .size = size};
	enum rule_signal s = (enum rule_signal)r->signal;
	char now[40], than[40];

	signal_value_text(now, sizeof(now), s, v);
	signal_value_text(than, sizeof(than), s, r->threshold);
	if (signal_info(s)->kind == KIND_FLAG) {
		put(&o, "%s", signal_info(s)->name);
	} else {
		put(&o, "%s %s, %s %s", signal_info(s)->name, now,
			r->or_equal ? "at least" : "above", than);
	}
	if (r->for_usec) {
		put(&o, " for ");
		put_time(&o, r->for_usec);
	}
}
