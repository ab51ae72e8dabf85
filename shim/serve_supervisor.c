/* holdfast.v1.Supervisor: from messages to what the shim does, and back. */
#include "ipc/base/mem.h"
#include "ipc/event_msg.h"
#include "ipc/health_msg.h"
#include "shim/shim.h"

#define API_VERSION 1
#define SERVICE	    "holdfast.v1.Supervisor"

static char *unconst(const char *text)
{
	return (char *)(uintptr_t)text; /* packing does not write to it */
}

static enum served get_info(struct conn *c, uint32_t stream, const void *req)
{
	struct shim *s = c->shim;
	Holdfast__V1__GetInfoResponse m;
	char *capabilities[6];

	holdfast__v1__get_info_response__init(&m);
	m.capabilities = capabilities;
	if (shim_has_init(s))
		capabilities[m.n_capabilities++] = unconst("init");
	capabilities[m.n_capabilities++] = unconst("exec");
	if (s->settings.flags & SETTINGS_TTY)
		capabilities[m.n_capabilities++] = unconst("terminal");
	if (s->settings.flags & SETTINGS_STDIN)
		capabilities[m.n_capabilities++] = unconst("stdin");
	if (s->overload)
		capabilities[m.n_capabilities++] = unconst("rules");
	capabilities[m.n_capabilities++] = unconst("update-rules");
	m.version = unconst(HOLDFAST_VERSION);
	m.id = s->settings.id;
	m.realm = s->settings.realm;
	m.api = API_VERSION;
	m.frame_max = SERVE_REQUEST_MAX;
	return serve_answer(c, stream, &m.base);
}

static enum served get_state(struct conn *c, uint32_t stream, const void *req)
{
	struct shim *s = c->shim;
	const struct history *h = &s->journal.now;
	Holdfast__V1__GetStateResponse m;
	auto_free struct overload_msg *rules = s->overload ? malloc(sizeof(*rules)) : NULL;
	Holdfast__V1__Cursor cursor;
	Holdfast__V1__Exit last;
	static struct health_msg health; /* not cleared each time, as on the stack */

	holdfast__v1__get_state_response__init(&m);
	holdfast__v1__cursor__init(&cursor);
	m.id = s->settings.id;
	m.phase = event_phase(h->state);
	m.run = h->run;
	m.pid = s->service_pid;
	m.init_pid = h->init_pid;
	m.shim_pid = s->pid;
	m.keeper_pid = s->hello.keeper_pid;
	m.restarts = s->shared ? s->shared->policy.restarts : h->restarts;
	m.shim_revivals = h->shim_revivals;
	m.created_time_usec = s->settings.real_created;
	m.started_time_usec = h->real_started;
	m.started_boottime_usec = h->boot_started;
	m.cgroup = s->settings.cgroup;
	m.paused = h->paused;
	health_to_msg(&health, &m, s->health.conf, s->health.state, s->phase == PHASE_RUNNING);
	if (rules) {
		overload_state(s, rules);
		m.n_rules = rules->len;
		m.rules = rules->list;
	}
	cursor.instance = watch_instance(s);
	cursor.sequence = h->seq;
	m.cursor = &cursor;
	if (h->last.run) {
		event_exit(&last, &h->last);
		m.last_exit = &last;
	}
	return serve_answer(c, stream, &m.base);
}

/* A cursor of another container of this name, or none, is the beginning. */
static uint64_t place_of(const struct shim *s, const Holdfast__V1__Cursor *from)
{
	return from && from->instance == watch_instance(s) ? from->sequence : 0;
}

static enum served watch(struct conn *c, uint32_t stream, const void *req)
{
	const Holdfast__V1__WatchRequest *r = req;

	return watch_begin(c, stream, place_of(c->shim, r->from));
}

static enum served list_events(struct conn *c, uint32_t stream, const void *req)
{
	const Holdfast__V1__ListEventsRequest *r = req;

	return watch_list(c, stream, place_of(c->shim, r->from), r->limit);
}

const struct serve_method serve_supervisor_methods[] = {
	{SERVICE, "GetInfo", &holdfast__v1__get_info_request__descriptor, false, get_info},
	{SERVICE, "GetState", &holdfast__v1__get_state_request__descriptor, false, get_state},
	{SERVICE, "Watch", &holdfast__v1__watch_request__descriptor, false, watch},
	{SERVICE, "ListEvents", &holdfast__v1__list_events_request__descriptor, false, list_events},
	{0},
};
