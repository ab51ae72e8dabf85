/* The API without protobuf: changes to what runs. */
#include <errno.h>
#include <string.h>

#include "ipc/base/mem.h"
#include "ipc/lib/connection.h"
#include "ipc/msg.h"

int holdfast_pause(struct holdfast *h)
{
	Holdfast__V1__PauseRequest request;

	holdfast__v1__pause_request__init(&request);
	return connection_simple(
		h, "Pause", &request.base, &holdfast__v1__pause_response__descriptor);
}

int holdfast_resume(struct holdfast *h)
{
	Holdfast__V1__ResumeRequest request;

	holdfast__v1__resume_request__init(&request);
	return connection_simple(
		h, "Resume", &request.base, &holdfast__v1__resume_response__descriptor);
}

static Holdfast__V1__Limit *limit(Holdfast__V1__Limit *ret, const struct holdfast_limit *from)
{
	if (!from->given)
		return NULL;
	holdfast__v1__limit__init(ret);
	ret->none = from->none;
	ret->value = from->none ? 0 : from->value;
	return ret;
}

static void limits_to(Holdfast__V1__UpdateRequest *m, Holdfast__V1__Limit *limits,
	const struct holdfast_update *u)
{
	m->memory_limit_bytes = limit(&limits[0], &u->memory_bytes);
	m->memory_high_bytes = limit(&limits[1], &u->memory_high_bytes);
	m->memory_swap_limit_bytes = limit(&limits[2], &u->memory_swap_bytes);
	m->cpu_limit_milli = limit(&limits[3], &u->cpu_milli);
	m->cpu_weight = limit(&limits[4], &u->cpu_weight);
	m->pids_limit = limit(&limits[5], &u->pids);
	m->restart_delay_usec = limit(&limits[6], &u->restart_delay_usec);
	m->restart_max_delay_usec = limit(&limits[7], &u->restart_max_delay_usec);
}

/* What does not know rules would change nothing, and say that it was done. */
static int must_know_rules(struct holdfast *h)
{
	Holdfast__V1__GetInfoRequest request;
	Holdfast__V1__GetInfoResponse *m;
	bool known = false;
	void *answer;
	int r;

	holdfast__v1__get_info_request__init(&request);
	r = connection_call(
		h, "GetInfo", &request.base, &holdfast__v1__get_info_response__descriptor, &answer);
	if (r < 0)
		return r;
	m = answer;
	for (size_t i = 0; i < m->n_capabilities; i++)
		known = known || strcmp(m->capabilities[i], "update-rules") == 0;
	msg_free(m);
	return known ? 0
		     : connection_fail(h, -EOPNOTSUPP,
			       "its supervisor is of an older release, which can't change rules");
}

/* A request of any size. */
static int call_update(struct holdfast *h, const Holdfast__V1__UpdateRequest *m,
	Holdfast__V1__UpdateResponse **ret)
{
	size_t size = protobuf_c_message_get_packed_size(&m->base), len;
	auto_free void *buf = malloc(size + 1);
	const void *data;
	int r;

	if (!buf)
		return connection_fail(h, -ENOMEM, "out of memory");
	r = holdfast_call(h, "Update", buf, msg_pack(&m->base, buf, size + 1), &data, &len);
	if (r < 0)
		return r;
	*ret = msg_unpack(&holdfast__v1__update_response__descriptor, data, len);
	return *ret ? 0 : connection_fail(h, -EBADMSG, "Update: the answer is no message");
}

int holdfast_update(struct holdfast *h, const struct holdfast_update *u)
{
	Holdfast__V1__UpdateResponse *answer = NULL;
	Holdfast__V1__UpdateRequest m;
	Holdfast__V1__Limit limits[8];
	Holdfast__V1__RuleSet rules;
	int r = u->rules_given ? must_know_rules(h) : 0;

	holdfast__v1__update_request__init(&m);
	holdfast__v1__rule_set__init(&rules);
	limits_to(&m, limits, u);
	/* packing writes to none of them */
	if (u->cpuset_cpus)
		m.cpuset_cpus = (char *)(uintptr_t)u->cpuset_cpus;
	if (u->restart)
		m.restart = (char *)(uintptr_t)u->restart;
	rules.n_rules = u->rules_len;
	rules.rules = (char **)(uintptr_t)u->rules;
	rules.n_presets = u->presets_len;
	rules.presets = (char **)(uintptr_t)u->presets;
	m.rules = u->rules_given ? &rules : NULL;
	if (r == 0)
		r = call_update(h, &m, &answer);
	if (r == 0 && answer->n_warnings) {
		connection_fail(h, 0, "%s", answer->warnings[0]);
		r = HOLDFAST_WARNED;
	}
	msg_free(answer);
	return r;
}
