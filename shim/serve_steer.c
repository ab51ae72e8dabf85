/* holdfast.v1.Supervisor, what changes the container: stop, kill, restart, wait, delete. A change
 * is journalled or asked of init before it is answered. What init is asked carries the call's own
 * tag, so a successor that asks again changes nothing twice. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ipc/event_msg.h"
#include "shim/shim.h"

#define SERVICE "holdfast.v1.Supervisor"
#define SIGNALS 64

/* Calls under way ------------------------------------------------------------------------------ */

static uint64_t tag_of(const struct call *call)
{
	return ONCE_TAG | (call->conn & INT32_MAX) << 32 | call->stream;
}

static int ask(struct shim *s, struct call *call)
{
	const struct signal_req signal = {.signo = call->ask.signo, .flags = call->ask.flags};
	const struct stop_req restart = {
		.signo = call->ask.signo,
		.has_grace = call->ask.flags,
		.grace_usec = call->ask.grace_usec,
	};

	call->ask.asker = getpid();
	if (call->ask.verb == INIT_SIGNAL)
		return link_init_send(s, INIT_SIGNAL, tag_of(call), &signal, sizeof(signal));
	return link_init_send(s, INIT_RESTART, tag_of(call), &restart, sizeof(restart));
}

static const char *why(int err)
{
	switch (err) {
	case -ESRCH:
		return "the service is not running";
	case -ECANCELED:
		return "the container was told to stop";
	case -EINVAL:
		return "no such signal (use 1 to 64)";
	default:
		return strerror(-err);
	}
}

static enum served refuse(struct conn *c, uint32_t stream, const char *method, int err)
{
	return serve_error(c, stream,
		err == -EINVAL ? TTRPC_INVALID_ARGUMENT : TTRPC_FAILED_PRECONDITION, "%s: %s: %s",
		c->shim->settings.id, method, why(err));
}

static enum served answer_ask(struct conn *c, uint32_t stream, uint32_t verb, int err)
{
	Holdfast__V1__KillResponse kill;
	Holdfast__V1__RestartResponse restart;

	if (err < 0)
		return refuse(c, stream, verb == INIT_SIGNAL ? "Kill" : "Restart", err);
	holdfast__v1__kill_response__init(&kill);
	holdfast__v1__restart_response__init(&restart);
	return serve_answer(c, stream, verb == INIT_SIGNAL ? &kill.base : &restart.base);
}

static void settle_ask(struct conn *c, struct call *call)
{
	if (!call->ask.verb) {
		/* the predecessor died over it: the request is in its socket still, and comes anew
		 */
		calls_drop(call);
		return;
	}
	if (!call->answered && call->ask.asker != getpid() && ask(c->shim, call) < 0) {
		call->ask.err = -ESRCH;
		call->answered = 1;
	}
	if (call->answered && answer_ask(c, call->stream, call->ask.verb, call->ask.err) == SERVED)
		calls_drop(call);
}

static void settle_wait(struct conn *c, struct call *call)
{
	Holdfast__V1__WaitResponse m;
	Holdfast__V1__Exit e;

	if (c->shim->phase != PHASE_DOWN)
		return;
	holdfast__v1__wait_response__init(&m);
	event_exit(&e, &c->shim->journal.now.last);
	m.exit = &e;
	if (serve_answer(c, call->stream, &m.base) == SERVED)
		calls_drop(call);
}

void steer_settle(struct conn *c, struct call *call)
{
	switch (call->method) {
	case CALL_ASK:
		settle_ask(c, call);
		break;
	case CALL_WAIT:
		settle_wait(c, call);
		break;
	default: /* of another version: nobody answers it */
		calls_drop(call);
	}
}

void steer_answered(struct shim *s, uint64_t tag, int err)
{
	for (unsigned i = 0; s->calls.table && i < CALLS_MAX; i++) {
		struct call *call = &s->calls.table->calls[i];

		if (!call->conn || call->method != CALL_ASK || tag_of(call) != tag)
			continue;
		call->ask.err = err;
		call->answered = 1;
		serve_changed(s);
	}
}

void steer_unanswered(struct shim *s)
{
	for (unsigned i = 0; s->calls.table && i < CALLS_MAX; i++) {
		struct call *call = &s->calls.table->calls[i];

		if (call->conn && call->method == CALL_ASK && !call->answered)
			steer_answered(s, tag_of(call), -ESRCH);
	}
}

/* Methods -------------------------------------------------------------------------------------- */

static struct call *begin(struct conn *c, uint32_t stream, enum call_method method)
{
	struct call *call = calls_add(&c->shim->calls, c->peer.id, stream, method);

	if (!call)
		serve_error(c, stream, TTRPC_RESOURCE_EXHAUSTED,
			"%u calls are under way on this container, no more", CALLS_MAX);
	return call;
}

/* The verb comes last: a call that has one is whole, whenever we die. */
static void ask_whole(struct call *call, uint32_t verb)
{
	__atomic_store_n(&call->ask.verb, verb, __ATOMIC_RELEASE);
}

static enum served wait_down(struct conn *c, uint32_t stream, const void *req)
{
	if (begin(c, stream, CALL_WAIT))
		serve_changed(c->shim);
	return SERVED;
}

static enum served stop(struct conn *c, uint32_t stream, const void *req)
{
	const Holdfast__V1__StopRequest *r = req;
	Holdfast__V1__StopResponse m;

	holdfast__v1__stop_response__init(&m);
	if (r->signal > SIGNALS)
		return refuse(c, stream, "Stop", -EINVAL);
	stop_begin(c->shim,
		(struct stop_req){
			.signo = r->signal, .has_grace = r->has_grace, .grace_usec = r->grace_usec},
		CLIENT_STOP);
	return serve_answer(c, stream, &m.base);
}

/* SIGKILL and the stop signal are a stop: that is state, so twice does no harm. */
static enum served kill_service(struct conn *c, uint32_t stream, const void *req)
{
	const Holdfast__V1__KillRequest *r = req;
	struct call probe = {.conn = c->peer.id, .stream = stream};
	struct call *call;
	int err;

	if (r->signal < 1 || r->signal > SIGNALS)
		return refuse(c, stream, "Kill", -EINVAL);
	err = stop_signal(c->shim,
		(struct signal_req){.signo = r->signal, .flags = r->all ? SIGNAL_TO_ALL : 0},
		tag_of(&probe));
	if (err != STOP_ASKED)
		return answer_ask(c, stream, INIT_SIGNAL, err);
	call = begin(c, stream, CALL_ASK);
	if (call) {
		call->ask.asker = getpid();
		call->ask.signo = r->signal;
		call->ask.flags = r->all ? SIGNAL_TO_ALL : 0;
		ask_whole(call, INIT_SIGNAL);
	}
	return SERVED;
}

static enum served restart(struct conn *c, uint32_t stream, const void *req)
{
	const Holdfast__V1__RestartRequest *r = req;
	struct shim *s = c->shim;
	struct call *call;

	if (r->signal > SIGNALS)
		return refuse(c, stream, "Restart", -EINVAL);
	if (!shim_has_init(s) || (s->phase != PHASE_RUNNING && s->phase != PHASE_DELAY))
		return refuse(c, stream, "Restart", shim_has_init(s) ? -ESRCH : -ENOTSUP);
	call = begin(c, stream, CALL_ASK);
	if (!call)
		return SERVED;
	call->ask.signo = r->signal;
	call->ask.flags = r->has_grace;
	call->ask.grace_usec = r->grace_usec;
	ask_whole(call, INIT_RESTART);
	settle_ask(c, call);
	return SERVED;
}

static enum served delete_all(struct conn *c, uint32_t stream, const void *req)
{
	const Holdfast__V1__DeleteRequest *r = req;
	Holdfast__V1__DeleteResponse m;
	struct shim *s = c->shim;
	enum served served;

	holdfast__v1__delete_response__init(&m);
	if (!r->force && s->phase != PHASE_DOWN)
		return serve_error(c, stream, TTRPC_FAILED_PRECONDITION,
			"%s: is running (stop it first, or force)", s->settings.id);
	s->remove = true;
	if (s->phase != PHASE_DOWN)
		stop_begin(s, (struct stop_req){.signo = 9, .has_grace = 1}, CLIENT_REMOVE);
	served = serve_answer(c, stream, &m.base);
	if (s->retiring) /* in a turn of its own: leaving closes this very connection */
		loop_timer_set(&s->retire_timer, 0);
	return served;
}

static enum served resize(struct conn *c, uint32_t stream, const void *req)
{
	const Holdfast__V1__ResizePtyRequest *r = req;
	const struct winsize size = {
		.ws_row = (unsigned short)r->rows, .ws_col = (unsigned short)r->columns};
	Holdfast__V1__ResizePtyResponse m;

	holdfast__v1__resize_pty_response__init(&m);
	if (r->rows > UINT16_MAX || r->columns > UINT16_MAX)
		return serve_error(c, stream, TTRPC_INVALID_ARGUMENT,
			"ResizePty: %u rows, %u columns: at most 65535", r->rows, r->columns);
	if (c->shim->tty < 0 || ioctl(c->shim->tty, TIOCSWINSZ, &size) < 0)
		return serve_error(c, stream, TTRPC_FAILED_PRECONDITION,
			"%s: has no terminal (run it with --tty)", c->shim->settings.id);
	return serve_answer(c, stream, &m.base);
}

const struct serve_method serve_steer_methods[] = {
	{SERVICE, "Wait", &holdfast__v1__wait_request__descriptor, false, wait_down},
	{SERVICE, "Stop", &holdfast__v1__stop_request__descriptor, true, stop},
	{SERVICE, "Kill", &holdfast__v1__kill_request__descriptor, true, kill_service},
	{SERVICE, "Restart", &holdfast__v1__restart_request__descriptor, true, restart},
	{SERVICE, "Delete", &holdfast__v1__delete_request__descriptor, true, delete_all},
	{SERVICE, "ResizePty", &holdfast__v1__resize_pty_request__descriptor, true, resize},
	{0},
};
