/* What rules do. Each step is journalled before it is done and after it, both under the act's
 * number: a shim that finds one of them there goes on behind it. What init is asked carries the
 * number as its tag, so init does it once; what is written to the group is noted before it is
 * written, and undone from the note. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"
#include "ipc/base/log.h"
#include "ipc/base/mem.h"
#include "ipc/base/proc.h"
#include "monitor/cgthrottle.h"
#include "monitor/rule_text.h"
#include "shim/dump.h"
#include "shim/pressure_feed.h"
#include "shim/shim.h"

#define RULE_TAG       (ONCE_TAG | 1ULL << 62) /* clients' tags never get as far */
#define KILL_HARD_USEC USEC_PER_SEC

/* One act on its way. */
struct doing {
	struct shim *s;
	const struct rule *rule;
	const struct rule_step *step; /* NULL: it has none */
	uint64_t n;
	unsigned index; /* the rule's */
	bool again;	/* who began it may have died anywhere in it */
	struct rec_rule rec;
	char result[96];
};

__attribute__((format(printf, 2, 3))) static void say(struct doing *d, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(d->result, sizeof(d->result), fmt, ap);
	va_end(ap);
}

static void note(struct doing *d, enum record_type type)
{
	struct shim *s = d->s;

	journal_append(&s->journal, type, 0, s->journal.now.run, &d->rec, sizeof(d->rec));
}

static uint64_t tag_of(const struct doing *d)
{
	return RULE_TAG | d->n;
}

/* Actions: 0 or -errno; what there is to say of it in d->result
 * ------------------------------------
 */

static int do_event(struct doing *d)
{
	return 0;
}

static int signal_service(struct doing *d, uint32_t signo)
{
	const struct signal_req req = {.signo = signo};
	struct shim *s = d->s;

	if (!shim_has_init(s) && stop_means(s, signo))
		return stop_signal(s, req, 0); /* as init takes it, where there is one */
	if (!shim_has_init(s))
		return pidfd_kill(s->init_pidfd.fd, (int)signo);
	return link_init_send(s, INIT_SIGNAL, tag_of(d), &req, sizeof(req));
}

static enum pressure_kind kind_of(const struct rule *r)
{
	switch (r->signal) {
	case SIGNAL_IO_PRESSURE_SOME:
	case SIGNAL_IO_PRESSURE_FULL:
		return PRESSURE_OF_IO;
	case SIGNAL_CPU_PRESSURE_SOME:
	case SIGNAL_CPU_PRESSURE_FULL:
	case SIGNAL_CPU_THROTTLED:
	case SIGNAL_PIDS_MAX:
	case SIGNAL_OUTPUT:
		return PRESSURE_OF_CPU;
	default:
		return PRESSURE_OF_MEMORY;
	}
}

static int do_notify(struct doing *d)
{
	pressure_feed(d->s, kind_of(d->rule));
	return d->step->arg ? signal_service(d, (uint32_t)d->step->arg) : 0;
}

static enum throttle_what what_of(const struct rule *r)
{
	enum pressure_kind kind = kind_of(r);

	return kind == PRESSURE_OF_IO	 ? THROTTLE_IO
	       : kind == PRESSURE_OF_CPU ? THROTTLE_CPU
					 : THROTTLE_MEMORY;
}

/* For its health, say: it needs its share for that. */
static bool is_being_ended(struct doing *d)
{
	const struct history *h = &d->s->journal.now;

	if (h->unhealthy.run != h->run)
		return false;
	say(d, "not done: the run is being ended");
	return true;
}

static int throttled_by(struct doing *d, uint32_t index)
{
	const struct rules *rules = &d->s->overload->rules;
	const struct rule *other = index < rules->len ? &rules->rule[index] : d->rule;
	bool same = what_of(other) == what_of(d->rule);

	say(d, same ? "is throttled already, by %.31s" : "not done: it is throttled by %.31s",
		other->name);
	return same ? 0 : -EBUSY;
}

/* One rule at a time: a second one of the same kind finds it done, one of another is told so. What
 * is noted was perhaps not yet written. */
static int do_throttle(struct doing *d)
{
	struct shim *s = d->s;
	struct overload_mem *m = s->overload->mem;
	bool throttled = m->throttle_nonce == s->launch_nonce && m->undo.len;
	int r;

	if (is_being_ended(d))
		return -ESRCH;
	if (throttled && d->again && m->throttle_rule == d->index) {
		cglimit_undo(&m->undo);
	} else if (throttled) {
		return throttled_by(d, m->throttle_rule);
	}
	m->undo.len = 0;
	m->throttle_rule = d->index;
	m->throttle_nonce = s->launch_nonce;
	r = cgthrottle(&s->hier, s->settings.cgroup, what_of(d->rule), (unsigned)d->step->arg,
		&m->undo, d->result, sizeof(d->result));
	if (r < 0) {
		m->throttle_nonce = 0;
		say(d, "%.90s", fault_text());
	}
	return r;
}

static int do_freeze(struct doing *d)
{
	struct shim *s = d->s;
	struct overload_mem *m = s->overload->mem;
	int r;

	if (is_being_ended(d))
		return -ESRCH;
	if (s->journal.now.paused && !m->frozen_until) {
		say(d, "is paused already");
		return 0;
	}
	m->frozen_until = now_mono() + d->step->arg;
	r = pause_begin(s);
	if (r < 0) {
		m->frozen_until = 0;
		say(d, "%.90s", fault_text());
	}
	return r;
}

static int do_dump(struct doing *d)
{
	int r = dump_write(d->s, d->rule->name, d->rec.why, d->step->arg ? d->rule->hook : "",
		d->result, sizeof(d->result));

	if (r < 0)
		say(d, "%.90s", fault_text());
	return r;
}

/* The policy's budget counts the restarts of rules, too: those that init has made, and ours. */
static bool budget_left(const struct shim *s, uint64_t now)
{
	const struct policy_conf *conf = &s->settings.policy;
	const struct overload_mem *m = s->overload->mem;
	uint32_t n = 0;

	if (!conf->budget_n || !s->shared)
		return true;
	for (uint32_t i = 0; i < s->shared->policy.times_len && i < POLICY_BUDGET_MAX; i++)
		n += now - s->shared->policy.times[i] < conf->budget_window_usec;
	for (uint32_t i = 0; i < m->restarts_len && i < OVERLOAD_RESTARTS; i++)
		n += now - m->restarts[i] < conf->budget_window_usec;
	return n < conf->budget_n;
}

static void count_restart(struct overload_mem *m, uint64_t now)
{
	m->restarts[m->restarts_next % OVERLOAD_RESTARTS] = now;
	m->restarts_next = (m->restarts_next + 1) % OVERLOAD_RESTARTS;
	m->restarts_len += m->restarts_len < OVERLOAD_RESTARTS;
}

static struct stop_req stop_of(const struct doing *d)
{
	bool given = d->step->arg != RULE_GRACE_STD;

	return (struct stop_req){.has_grace = given, .grace_usec = given ? d->step->arg : 0};
}

static int do_restart(struct doing *d)
{
	const struct stop_req req = stop_of(d);
	struct shim *s = d->s;
	uint64_t now = now_mono();

	if (!s->journal.now.restarting && !budget_left(s, now)) {
		say(d, "not done: the restart budget is used up");
		return -EDQUOT;
	}
	if (!s->journal.now.restarting)
		count_restart(s->overload->mem, now);
	overload_undo(s); /* it needs its share to end in time */
	pause_thaw(s);
	if (!shim_has_init(s)) {
		restart_without_init(s, req);
		return 0;
	}
	restart_note(s, req);
	return link_init_send(s, INIT_RESTART, tag_of(d), &req, sizeof(req));
}

static int do_stop(struct doing *d)
{
	overload_undo(d->s);
	stop_begin(d->s, stop_of(d), CLIENT_STOP);
	return 0;
}

static pid_t parent_of(pid_t pid)
{
	char path[32], text[512];
	const char *p;
	int parent;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (file_read_buf(AT_FDCWD, path, text, sizeof(text)) < 0)
		return -1;
	p = strrchr(text, ')');
	return p && sscanf(p, ") %*c %d", &parent) == 1 ? parent : -1;
}

/* The service by its own pid, which to init is a crash like any other: it kills the rest, and the
 * policy decides. A pid that is somebody else's by now has another parent. */
static int kill_service(const struct shim *s)
{
	auto_fd pidfd = s->service_pid > 1 ? pidfd_open_pid(s->service_pid) : -1;

	if (pidfd < 0 || parent_of(s->service_pid) != s->journal.now.init_pid)
		return -ESRCH;
	return pidfd_kill(pidfd, SIGKILL);
}

static int do_kill(struct doing *d)
{
	struct shim *s = d->s;
	int r;

	overload_undo(s);
	pause_thaw(s);
	s->overload->mem->kill_run = s->journal.now.run;
	s->overload->mem->kill_due = now_mono() + KILL_HARD_USEC;
	r = shim_has_init(s) ? kill_service(s) : pidfd_kill(s->init_pidfd.fd, SIGKILL);
	if (r < 0) {
		say(d, "the service can't be signalled: its group is killed");
		clean_kill(s);
	}
	return 0;
}

static int (*const deeds[ACTIONS])(struct doing *d) = {
	[ACTION_EVENT] = do_event,
	[ACTION_NOTIFY] = do_notify,
	[ACTION_THROTTLE] = do_throttle,
	[ACTION_FREEZE] = do_freeze,
	[ACTION_DUMP] = do_dump,
	[ACTION_RESTART] = do_restart,
	[ACTION_STOP] = do_stop,
	[ACTION_KILL] = do_kill,
};

/* Undoing ----------------------------------------------------------------------------------------
 */

static void unthrottle(struct shim *s)
{
	struct overload_mem *m = s->overload->mem;

	if (m->throttle_nonce && m->throttle_nonce == s->launch_nonce)
		cglimit_undo(&m->undo);
	m->undo.len = 0; /* another launch's group: gone with it */
	m->throttle_nonce = 0;
}

static void unfreeze(struct shim *s)
{
	struct overload_mem *m = s->overload->mem;

	if (m->frozen_until)
		pause_thaw(s);
	m->frozen_until = 0;
}

void overload_thawed(struct shim *s)
{
	if (s->overload)
		s->overload->mem->frozen_until = 0;
}

void overload_undo(struct shim *s)
{
	if (!s->overload)
		return;
	unthrottle(s);
	unfreeze(s);
}

void overload_finish_kill(struct shim *s, uint64_t now)
{
	struct overload_mem *m = s->overload->mem;

	if (m->frozen_until && now >= m->frozen_until)
		unfreeze(s);
	if (!m->kill_due || m->kill_run != s->journal.now.run) {
		m->kill_due = 0;
	} else if (now >= m->kill_due) {
		m->kill_due = 0;
		journal_warn(&s->journal, "rules: the service does not die: its group is killed");
		clean_kill(s);
	}
}

/* Acts
 * --------------------------------------------------------------------------------------------- */

static void take_step(struct doing *d, enum record_type noted)
{
	struct shim *s = d->s;
	const struct overload_slot *slot = overload_slot(s->overload, s->overload->mem->current);
	size_t len;

	if (noted == RECORD_RULE_DONE)
		return;
	if (noted != RECORD_RULE_ACTION && d->step->action != ACTION_EVENT)
		note(d, RECORD_RULE_ACTION);
	if (s->journal.now.run != slot->state.run || s->phase != PHASE_RUNNING) {
		d->rec.err = -ESRCH;
		say(d, "the run had ended");
	} else {
		d->again = noted == RECORD_RULE_ACTION;
		d->rec.err = deeds[d->step->action](d);
	}
	if (d->rec.err < 0 && !d->result[0])
		say(d, "%s", strerror(-d->rec.err));
	len = strlen(d->rec.what);
	if (d->result[0])
		snprintf(d->rec.what + len, sizeof(d->rec.what) - len, ": %s", d->result);
	note(d, RECORD_RULE_DONE);
}

static void clear(struct doing *d)
{
	struct overload_mem *m = d->s->overload->mem;

	if (m->throttle_nonce && m->throttle_rule == d->index)
		unthrottle(d->s);
	note(d, RECORD_RULE_CLEARED);
}

static void held(struct doing *d)
{
	journal_warn(&d->s->journal, "rule %s: %s: not acted on, its limit of %u is reached",
		d->rule->name, d->rec.why, d->rule->limit_n);
}

static void describe(struct doing *d, const struct rule_act *a)
{
	d->rec = (struct rec_rule){
		.act = d->n,
		.signal = d->rule->signal,
		.value = a->value,
		.threshold = d->rule->threshold,
	};
	snprintf(d->rec.rule, sizeof(d->rec.rule), "%s", d->rule->name);
	if (a->did == RULE_CLEARED) {
		char now[40];

		signal_value_text(now, sizeof(now), (enum rule_signal)d->rule->signal, a->value);
		snprintf(d->rec.why, sizeof(d->rec.why), "%s %s",
			signal_info((enum rule_signal)d->rule->signal)->name, now);
	} else {
		rule_why(d->rule, a->value, d->rec.why, sizeof(d->rec.why));
	}
	if (a->did != RULE_STEP)
		return;
	d->step = &d->rule->steps[a->step];
	d->rec.action = d->step->action;
	d->rec.ends = rule_action_ends((enum rule_action)d->step->action);
	rule_step_text(d->rule, a->step, d->rec.what, sizeof(d->rec.what));
}

static void carry_out(struct shim *s, const struct rule_act *a, uint64_t n)
{
	const struct history *h = &s->journal.now;
	struct doing d = {.s = s, .n = n, .index = a->rule};
	enum record_type noted = h->rule_act == n ? (enum record_type)h->rule_noted : 0;

	if (h->rule_act > n || a->rule >= s->overload->rules.len)
		return;
	d.rule = &s->overload->rules.rule[a->rule];
	describe(&d, a);
	if (a->did == RULE_STEP && a->step < d.rule->steps_len)
		take_step(&d, noted);
	else if (a->did == RULE_HELD)
		held(&d);
	else if (!noted && a->did == RULE_CLEARED)
		clear(&d);
	else if (!noted && a->did == RULE_FIRED)
		note(&d, RECORD_RULE_FIRED);
}

void overload_carry_out(struct shim *s)
{
	struct overload_mem *m = s->overload->mem;
	struct overload_slot *slot = overload_slot(s->overload, m->current);

	while (slot->done < slot->len && slot->done < RULE_ACTS_MAX) {
		carry_out(s, &slot->acts[slot->done], slot->first + slot->done);
		slot->done++;
	}
}

void overload_ending(struct shim *s)
{
	struct overload *o = s->overload;
	struct overload_mem *m = o ? o->mem : NULL;
	const struct overload_slot *slot = o ? overload_slot(o, m->current) : NULL;

	if (!o)
		return;
	if (m->stale) /* a predecessor's, of the update before or of this same one */
		overload_end(s);
	m->ending_of = m->ending_len = 0;
	for (unsigned i = 0; i < o->rules.len; i++) {
		const struct rule_state *state = &slot->state.rule[i];
		const struct rule_act act = {.did = RULE_CLEARED, .value = state->value};
		struct doing d = {.s = s,
			.rule = &o->rules.rule[i],
			.n = slot->first + slot->len + m->ending_len};
		size_t len;

		if (!rule_on_ladder(&o->rules.rule[i], state))
			continue;
		describe(&d, &act);
		len = strlen(d.rec.why);
		snprintf(d.rec.why + len, sizeof(d.rec.why) - len, ": the rules were replaced");
		m->ending[m->ending_len++] = d.rec;
	}
	__atomic_store_n(&m->ending_of, m->rules_sum, __ATOMIC_RELEASE);
}

/* Who was on a ladder will not say that it is over. */
void overload_end(struct shim *s)
{
	struct overload_mem *m = s->overload->mem;

	for (unsigned i = 0; i < m->ending_len && i < RULES_MAX; i++)
		if (m->ending[i].act > s->journal.now.rule_act) /* else a predecessor has told it */
			journal_append(&s->journal, RECORD_RULE_CLEARED, 0, s->journal.now.run,
				&m->ending[i], sizeof(m->ending[i]));
	overload_undo(s);
	m->ending_len = 0;
	m->stale = 0;
}

void overload_answered(struct shim *s, uint64_t tag, int err)
{
	if (s->overload && (tag & RULE_TAG) == RULE_TAG && err < 0 && err != -ESRCH)
		journal_warn(&s->journal, "rules: process 1 refuses: %s", strerror(-err));
}
