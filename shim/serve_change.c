/* holdfast.v1.Supervisor, what changes a running container without ending anything: Pause, Resume,
 * Update. Each is state and says what shall be, so a request that a dead predecessor left in the
 * socket is simply done again. An update is in force, then in the settings, then told to init: a
 * shim that dies in between leaves the rest to that second time, and to its successor. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/mem.h"
#include "ipc/fds.h"
#include "ipc/proto/holdfast/v1/supervisor.pb-c.h"
#include "monitor/cglimit.h"
#include "shim/shim.h"

#define SERVICE	   "holdfast.v1.Supervisor"
#define MEMORY_MIN (1u << 20)
#define CPUS_MIN   10u /* thousandths: the kernel's smallest quota */
#define CPUS_MAX   1000000u
#define WEIGHT_MAX 10000u
#define PIDS_MAX   4194304u
#define MEMORY_MAX (1ULL << 60)
#define DELAY_MAX  (3650ULL * 24 * 3600 * USEC_PER_SEC)

static enum served refuse(struct conn *c, uint32_t stream, const char *method, int err)
{
	char text[400];

	snprintf(text, sizeof(text), "%s", fault_text());
	return serve_error(c, stream,
		err == -EINVAL ? TTRPC_INVALID_ARGUMENT : TTRPC_FAILED_PRECONDITION, "%s: %s: %s",
		c->shim->settings.id, method, text);
}

/* Pause, Resume -------------------------------------------------------------------------------- */

static enum served pause_all(struct conn *c, uint32_t stream, const void *req)
{
	int r = pause_begin(c->shim);

	if (r == 0)
		overload_thawed(
			c->shim); /* a rule that has frozen it lets go no more: this stays */
	return r < 0 ? refuse(c, stream, "Pause", r) : serve_done(c, stream);
}

static enum served resume_all(struct conn *c, uint32_t stream, const void *req)
{
	int r = c->shim->phase == PHASE_DOWN ? fault_plain(-ESRCH, "is exited, not running")
					     : pause_end(c->shim);

	return r < 0 ? refuse(c, stream, "Resume", r) : serve_done(c, stream);
}

/* Update --------------------------------------------------------------------------------------- */

/* What changes, before anything does; and its words for the journal. */
struct update {
	struct changed_limits limits;
	struct policy_conf policy;
	bool policy_changed;
	struct overload_change *rules; /* owned; NULL: they stay as they are */
	char text[400];
};

static void tell(struct update *u, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void tell(struct update *u, const char *fmt, ...)
{
	size_t at = strlen(u->text);
	va_list ap;

	va_start(ap, fmt);
	if (at)
		at += (size_t)snprintf(u->text + at, sizeof(u->text) - at, ", ");
	if (at < sizeof(u->text))
		vsnprintf(u->text + at, sizeof(u->text) - at, fmt, ap);
	va_end(ap);
}

static int take_limit(struct update *u, const Holdfast__V1__Limit *l, enum changed_limit which)
{
	static const struct {
		const char *name;
		uint64_t min, max;
	} rules[CHANGED_LIMITS] = {
		[CHANGED_MEMORY] = {"memory", MEMORY_MIN, MEMORY_MAX},
		[CHANGED_MEMORY_HIGH] = {"memory-high", MEMORY_MIN, MEMORY_MAX},
		[CHANGED_MEMORY_SWAP] = {"memory-swap", MEMORY_MIN, MEMORY_MAX},
		[CHANGED_CPUS] = {"cpus", CPUS_MIN, CPUS_MAX},
		[CHANGED_CPU_WEIGHT] = {"cpu-weight", 1, WEIGHT_MAX},
		[CHANGED_PIDS] = {"pids-limit", 1, PIDS_MAX},
	};
	const char *name = rules[which].name;

	if (!l)
		return 0;
	if (!l->none && (l->value < rules[which].min || l->value > rules[which].max))
		return fault_plain(-EINVAL,
			"%s \"%" PRIu64 "\": use %" PRIu64 " to %" PRIu64 ", or none", name,
			l->value, rules[which].min, rules[which].max);
	u->limits.given |= 1u << which;
	u->limits.none |= l->none ? 1u << which : 0;
	u->limits.value[which] = l->none ? 0 : l->value;
	if (l->none)
		tell(u, "%s none", name);
	else
		tell(u, "%s %" PRIu64, name, l->value);
	return 0;
}

static int take_cpuset(struct update *u, const char *cpus)
{
	size_t len = strlen(cpus);

	if (len == 0)
		return 0;
	if (len >= sizeof(u->limits.cpuset_cpus) || strspn(cpus, "0123456789,-") != len)
		return fault_plain(-EINVAL, "cpuset-cpus \"%.100s\": use a list like 0-3,8", cpus);
	memcpy(u->limits.cpuset_cpus, cpus, len + 1);
	tell(u, "cpuset-cpus %.100s", cpus);
	return 0;
}

static int take_delay(
	struct update *u, const Holdfast__V1__Limit *l, const char *name, uint64_t *ret)
{
	if (!l)
		return 0;
	if (l->none || l->value > DELAY_MAX)
		return fault_plain(-EINVAL, "%s: use a time of at most ten years", name);
	*ret = l->value;
	u->policy_changed = true;
	tell(u, "%s %" PRIu64 " us", name, l->value);
	return 0;
}

static int take_restart(struct update *u, const char *word)
{
	static const char *const kinds[] = {
		[RESTART_NO] = "no",
		[RESTART_ON_FAILURE] = "on-failure",
		[RESTART_ALWAYS] = "always",
		[RESTART_UNLESS_STOPPED] = "unless-stopped",
	};

	if (!word[0])
		return 0;
	for (uint32_t i = 0; i < array_size(kinds); i++) {
		if (strcmp(word, kinds[i]) != 0)
			continue;
		u->policy.kind = i;
		u->policy_changed = true;
		if (u->policy.budget_window_usec == POLICY_RETRIES_WINDOW)
			u->policy.budget_n = 0; /* an on-failure:N's own goes with it */
		tell(u, "restart %s", word);
		return 0;
	}
	return fault_plain(
		-EINVAL, "restart \"%.100s\": use no, on-failure, always or unless-stopped", word);
}

static int read_request(struct update *u, const Holdfast__V1__UpdateRequest *r)
{
	const struct {
		const Holdfast__V1__Limit *limit;
		enum changed_limit which;
	} limits[] = {
		{r->memory_limit_bytes, CHANGED_MEMORY},
		{r->memory_high_bytes, CHANGED_MEMORY_HIGH},
		{r->memory_swap_limit_bytes, CHANGED_MEMORY_SWAP},
		{r->cpu_limit_milli, CHANGED_CPUS},
		{r->cpu_weight, CHANGED_CPU_WEIGHT},
		{r->pids_limit, CHANGED_PIDS},
	};
	int e = 0;

	for (size_t i = 0; e == 0 && i < array_size(limits); i++)
		e = take_limit(u, limits[i].limit, limits[i].which);
	if (e == 0)
		e = take_cpuset(u, r->cpuset_cpus);
	if (e == 0)
		e = take_restart(u, r->restart);
	if (e == 0)
		e = take_delay(u, r->restart_delay_usec, "restart-delay", &u->policy.delay_usec);
	if (e == 0)
		e = take_delay(u, r->restart_max_delay_usec, "restart-max-delay",
			&u->policy.max_delay_usec);
	if (e == 0 && u->policy_changed && u->policy.delay_usec > u->policy.max_delay_usec)
		e = fault_plain(-EINVAL,
			"restart-delay %" PRIu64 " us: above restart-max-delay, %" PRIu64 " us",
			u->policy.delay_usec, u->policy.max_delay_usec);
	return e;
}

/* Last of all: they are judged by the limits that there will be. */
static int take_rules(struct update *u, struct shim *s, const Holdfast__V1__RuleSet *set)
{
	int r = set ? overload_take(s, set, &u->limits, &u->rules) : 0;

	if (r == 0 && u->rules)
		tell(u, "rules %s", u->rules->names[0] ? u->rules->names : "none");
	return r;
}

/* Newer changes over older ones. */
static void merge(struct changed_limits *into, const struct changed_limits *c)
{
	into->none = (into->none & ~c->given) | c->none;
	into->given |= c->given;
	for (unsigned i = 0; i < CHANGED_LIMITS; i++)
		if (c->given >> i & 1)
			into->value[i] = c->value[i];
	if (c->cpuset_cpus[0])
		memcpy(into->cpuset_cpus, c->cpuset_cpus, sizeof(into->cpuset_cpus));
}

static int apply_limits(struct shim *s, struct changed_limits *c, struct cglimit_undo *undo)
{
	uint32_t asked = c->given;
	int r;

	if (s->journal.now.init_pid <= 0 || (!c->given && !c->cpuset_cpus[0]))
		return 0;
	r = cglimit_complete(&s->hier, s->settings.cgroup, c);
	if (r < 0)
		return r;
	overload_limits_change(s);
	return cglimit_apply(&s->hier, s->settings.cgroup, c, asked, undo);
}

/* What every further start looks at: both files or none. */
static int store(struct shim *s, const struct update *u, struct settings *next)
{
	char text[400];
	int r = 0;

	if (u->rules) {
		overload_ending(s);
		r = overload_store(u->rules);
	}
	if (r == 0)
		r = settings_write(SHIM_FD_STATE, next);
	if (r == 0 || !u->rules)
		return r;
	snprintf(text, sizeof(text), "%s", fault_text());
	if (overload_restore(s) < 0)
		journal_warn(&s->journal, "update: %s", fault_text());
	return fault_plain(r, "%s", text);
}

static int apply(struct shim *s, struct update *u)
{
	struct settings next = s->settings;
	struct cglimit_undo undo = {0};
	int r = apply_limits(s, &u->limits, &undo);

	if (r < 0)
		return r;
	merge(&next.changed, &u->limits);
	next.policy = u->policy;
	r = store(s, u, &next);
	if (r < 0) {
		cglimit_undo(&undo);
		return r;
	}
	s->settings = next;
	pump_run_beside(&s->pump, s->journal.now.init_pid);
	if (u->rules)
		overload_replace(s);
	journal_append(
		&s->journal, RECORD_UPDATED, 0, s->journal.now.run, u->text, strlen(u->text) + 1);
	return 0;
}

/* A new policy is in force once init says so: what dies after our answer is treated by it. A paused
 * init says nothing, and nothing goes on under the old one: it hears first when it is let go. */
static enum served apply_policy(struct conn *c, uint32_t stream, struct update *u)
{
	struct call *call;
	enum served served = steer_begin_policy(c, stream, &call);
	int r;

	if (!call)
		return served;
	r = apply(c->shim, u);
	if (r < 0) {
		calls_drop(call);
		return refuse(c, stream, "Update", r);
	}
	serve_warn_of(c, stream, u->rules ? u->rules->left_out : "");
	steer_ask_policy(c, call);
	return SERVED;
}

static enum served change(struct conn *c, uint32_t stream, struct update *u,
	const Holdfast__V1__UpdateRequest *request)
{
	struct shim *s = c->shim;
	bool to_init = shim_has_init(s) && s->journal.now.init_pid > 0;
	int r = read_request(u, request);

	if (r == 0 && s->phase == PHASE_DOWN)
		r = fault_plain(-ESRCH, "has ended");
	if (r == 0)
		r = take_rules(u, s, request->rules);
	if (r == 0 && u->policy_changed && to_init && !s->journal.now.paused)
		return apply_policy(c, stream, u);
	if (r == 0 && u->text[0])
		r = apply(s, u);
	if (r < 0)
		return refuse(c, stream, "Update", r);
	if (u->policy_changed && to_init)
		link_init_send(s, INIT_POLICY, 0, &s->settings.policy, sizeof(s->settings.policy));
	serve_warn_of(c, stream, u->rules ? u->rules->left_out : "");
	return serve_updated(c, stream, serve_done_with);
}

static enum served update(struct conn *c, uint32_t stream, const void *req)
{
	struct update u = {.policy = c->shim->settings.policy};
	enum served served = change(c, stream, &u, req);

	free(u.rules);
	return served;
}

/* A request that waits (for room, for init) is read anew: what there is to say of it does not. */
void serve_warn_of(struct conn *c, uint32_t stream, const char *left_out)
{
	free(c->warning);
	c->warning = left_out[0] ? strdup(left_out) : NULL;
	c->warned = stream;
}

enum served serve_updated(struct conn *c, uint32_t stream, serve_answerer answer)
{
	Holdfast__V1__UpdateResponse m;
	char text[480], *warnings = text;

	if (!c->warning || c->warned != stream)
		return answer(c, stream, NULL);
	holdfast__v1__update_response__init(&m);
	snprintf(text, sizeof(text), "%s: presets: left out: %s", c->shim->settings.id, c->warning);
	m.warnings = &warnings;
	m.n_warnings = 1;
	return answer(c, stream, &m.base);
}

const struct serve_method serve_change_methods[] = {
	{SERVICE, "Pause", &holdfast__v1__pause_request__descriptor, true, pause_all},
	{SERVICE, "Resume", &holdfast__v1__resume_request__descriptor, true, resume_all},
	{SERVICE, "Update", &holdfast__v1__update_request__descriptor, true, update},
	{0},
};
