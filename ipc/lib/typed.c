/* The API without protobuf: plain structs in and out. */
#include <errno.h>
#include <string.h>

#include "ipc/lib/connection.h"
#include "ipc/msg.h"

#define NO_GRACE UINT64_MAX

static struct holdfast_exit exit_of(const Holdfast__V1__Exit *e)
{
	if (!e)
		return (struct holdfast_exit){0};
	return (struct holdfast_exit){
		.run = e->run,
		.code = e->code,
		.signal = e->signal,
		.unknown = e->unknown,
		.core_dumped = e->core_dumped,
		.oom = e->oom,
		.stopped = e->stopped,
		.start_failed = e->start_failed,
		.again = e->verdict != HOLDFAST__V1__VERDICT__VERDICT_STAY_DOWN,
		.delay_usec = e->delay_usec,
		.end_time_usec = e->end_time_usec,
	};
}

int holdfast_get_state(struct holdfast *h, struct holdfast_state *ret)
{
	Holdfast__V1__GetStateRequest request;
	Holdfast__V1__GetStateResponse *m;
	void *answer;
	int r;

	holdfast__v1__get_state_request__init(&request);
	r = connection_call(h, "GetState", &request.base,
		&holdfast__v1__get_state_response__descriptor, &answer);
	if (r < 0)
		return r;
	m = answer;
	*ret = (struct holdfast_state){
		.phase = (enum holdfast_phase)m->phase,
		.run = m->run,
		.pid = m->pid,
		.init_pid = m->init_pid,
		.shim_pid = m->shim_pid,
		.keeper_pid = m->keeper_pid,
		.restarts = m->restarts,
		.started_time_usec = m->started_time_usec,
		.last = exit_of(m->last_exit),
		.instance = m->cursor ? m->cursor->instance : 0,
		.sequence = m->cursor ? m->cursor->sequence : 0,
		.paused = m->paused,
	};
	msg_free(m);
	return 0;
}

int holdfast_stop(struct holdfast *h, uint32_t signal, uint64_t grace_usec)
{
	Holdfast__V1__StopRequest request;

	holdfast__v1__stop_request__init(&request);
	request.signal = signal;
	request.has_grace = grace_usec != NO_GRACE;
	request.grace_usec = request.has_grace ? grace_usec : 0;
	return connection_simple(
		h, "Stop", &request.base, &holdfast__v1__stop_response__descriptor);
}

int holdfast_restart(struct holdfast *h, uint32_t signal, uint64_t grace_usec)
{
	Holdfast__V1__RestartRequest request;

	holdfast__v1__restart_request__init(&request);
	request.signal = signal;
	request.has_grace = grace_usec != NO_GRACE;
	request.grace_usec = request.has_grace ? grace_usec : 0;
	return connection_simple(
		h, "Restart", &request.base, &holdfast__v1__restart_response__descriptor);
}

int holdfast_kill(struct holdfast *h, uint32_t signal, bool all)
{
	Holdfast__V1__KillRequest request;

	holdfast__v1__kill_request__init(&request);
	request.signal = signal;
	request.all = all;
	return connection_simple(
		h, "Kill", &request.base, &holdfast__v1__kill_response__descriptor);
}

int holdfast_wait(struct holdfast *h, struct holdfast_exit *ret)
{
	Holdfast__V1__WaitRequest request;
	Holdfast__V1__WaitResponse *m;
	void *answer;
	int r;

	holdfast__v1__wait_request__init(&request);
	r = connection_call(
		h, "Wait", &request.base, &holdfast__v1__wait_response__descriptor, &answer);
	if (r < 0)
		return r;
	m = answer;
	*ret = exit_of(m->exit);
	msg_free(m);
	return 0;
}

/* Events --------------------------------------------------------------------------------------- */

static void drop_batch(struct holdfast *h)
{
	if (h->batch)
		msg_free(h->batch);
	h->batch = NULL;
	h->batch_at = 0;
}

int holdfast_watch(struct holdfast *h, uint64_t instance, uint64_t sequence)
{
	Holdfast__V1__WatchRequest request;
	Holdfast__V1__Cursor from;
	unsigned char buf[64];

	holdfast__v1__watch_request__init(&request);
	holdfast__v1__cursor__init(&from);
	from.instance = instance;
	from.sequence = sequence;
	request.from = &from;
	drop_batch(h); /* of an earlier watch */
	h->instance = instance;
	h->sequence = sequence;
	return holdfast_stream(h, "Watch", buf, msg_pack(&request.base, buf, sizeof(buf)));
}

/* A namesake of the container that was asked for tells its own story, from the beginning. */
static void batch_whose(struct holdfast *h)
{
	if (!h->batch->instance || h->batch->instance == h->instance)
		return;
	h->instance = h->batch->instance;
	h->sequence = 0;
}

static int next_batch(struct holdfast *h)
{
	const void *data;
	size_t len;
	int r;

	drop_batch(h);
	r = holdfast_next(h, &data, &len);
	if (r <= 0)
		return r;
	h->batch = msg_unpack(&holdfast__v1__watch_response__descriptor, data, len);
	if (!h->batch)
		return connection_fail(h, -EBADMSG, "Watch: the message is none of it");
	batch_whose(h);
	return 1;
}

int holdfast_watch_next(struct holdfast *h, struct holdfast_event *ret)
{
	for (;;) {
		const Holdfast__V1__Event *e;
		bool about_exit;

		while (!h->batch || h->batch_at == h->batch->n_events) {
			int r = next_batch(h);

			if (r <= 0)
				return r;
		}
		e = h->batch->events[h->batch_at++];
		if (e->sequence <= h->sequence)
			continue; /* told again by a new supervisor */
		h->sequence = e->sequence;
		about_exit = e->detail_case == HOLDFAST__V1__EVENT__DETAIL_EXIT;
		*ret = (struct holdfast_event){
			.sequence = e->sequence,
			.type = (uint32_t)e->type,
			.run = e->run,
			.time_usec = e->time_usec,
			.boottime_usec = e->boottime_usec,
			.inferred = e->inferred,
			.exit = exit_of(about_exit ? e->exit : NULL),
			.missed = e->detail_case == HOLDFAST__V1__EVENT__DETAIL_MISSED ? e->missed
										       : 0,
		};
		return 1;
	}
}
