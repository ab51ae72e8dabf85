/* holdfast.v1.Supervisor, what changes the container: stop, kill, restart, wait, delete. A change
 * is journalled or asked of init before it is answered. What init is asked carries the call's own
 * tag, so a successor that asks again changes nothing twice. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ipc/event_msg.h"
#include "shim/shim.h"

#define SERVICE "holdfast.v1.Supervisor"
#define SIGNALS 64
/* Of init, at a time: it remembers the answers to ONCE_SLOTS requests for a successor that asks
 * again, and the tool's clients ask, too. */
#define ASKS_MAX (ONCE_SLOTS / 2)

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
	if (call->ask.verb != INIT_POLICY)
		pause_thaw(s); /* a predecessor may not have come as far */
	if (call->ask.verb == INIT_POLICY)
		return link_init_send(s, INIT_POLICY, tag_of(call), &s->settings.policy,
			sizeof(s->settings.policy));
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

	if (verb == INIT_POLICY) /* it is written down, whatever becomes of init */
		return serve_updated(c, stream, serve_answer);
	if (err < 0)
		return refuse(c, stream, verb == INIT_SIGNAL ? "Kill" : "Restart", err);
	holdfast__v1__kill_response__init(&kill);
	holdfast__v1__restart_response__init(&restart);
	return serve_answer(c, stream, verb == INIT_SIGNAL ? &kill.base : &restart.base);
}

static void ask_or_fail(struct shim *s, struct call *call)
{
	if (call->answered || call->ask.asker == getpid() || ask(s, call) >= 0)
		return;
	call->ask.err = -ESRCH;
	call->answered = 1;
}

void steer_ask_again(struct shim *s, uint64_t conn)
{
	for (unsigned i = 0; i < CALLS_MAX; i++) {
		struct call *call = &s->calls.table->calls[i];

		if (call->conn == conn && call->method == CALL_ASK)
			ask_or_fail(s, call);
	}
}

static void settle_ask(struct conn *c, struct call *call)
{
	ask_or_fail(c->shim, call);
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

/* What became of the first start: 0 and the sentence. */
static void start_failure(const struct shim *s, char *text, size_t size)
{
	const struct exit_info *e = &s->first_failure;

	if (s->launched.outcome != LAUNCH_OK)
		snprintf(text, size, "%s", s->launched.text);
	else if (s->first_failed)
		snprintf(text, size, "the service could not be executed: %s (step %u)",
			strerror(e->errnum < 0 ? -e->errnum : e->errnum), e->step);
	else
		snprintf(text, size, "it was stopped meanwhile");
}

static void settle_start(struct conn *c, struct call *call)
{
	Holdfast__V1__StartResponse m;
	struct shim *s = c->shim;
	struct client_started started;
	char text[sizeof(s->launched.text)], *warnings = started.text;
	enum served served = SERVED_BLOCKED;

	if (s->phase == PHASE_NEW) { /* the predecessor did not come as far */
		shim_event(s, LIFE_ON_START);
	} else if (s->phase == PHASE_RUNNING || s->journal.now.up_once) {
		holdfast__v1__start_response__init(&m);
		shim_started_info(s, &started);
		m.run = started.run;
		m.pid = started.pid;
		m.init_pid = started.init_pid;
		m.warnings = &warnings;
		m.n_warnings = started.text[0] != '\0';
		served = serve_answer(c, call->stream, &m.base);
	} else if (s->phase == PHASE_DOWN) {
		start_failure(s, text, sizeof(text));
		served = serve_error(c, call->stream, TTRPC_FAILED_PRECONDITION, "%s: Start: %s",
			s->settings.id, text);
	}
	if (served == SERVED)
		calls_drop(call);
}

void steer_settle(struct conn *c, struct call *call)
{
	switch (call->method) {
	case CALL_ASK:
		settle_ask(c, call);
		break;
	case CALL_START:
		settle_start(c, call);
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

static bool asks_full(const struct shim *s)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CALLS_MAX; i++) {
		const struct call *call = &s->calls.table->calls[i];

		n += call->conn && call->method == CALL_ASK && !call->answered;
	}
	return n >= ASKS_MAX;
}

/* The verb comes last: a call that has one is whole, whenever we die. */
static void ask_whole(struct call *call, uint32_t verb)
{
	__atomic_store_n(&call->ask.verb, verb, __ATOMIC_RELEASE);
}

enum served steer_begin_policy(struct conn *c, uint32_t stream, struct call **ret)
{
	*ret = NULL;
	if (asks_full(c->shim))
		return SERVED_LATER;
	return serve_begin(c, stream, CALL_ASK, "Update", ret);
}

void steer_ask_policy(struct conn *c, struct call *call)
{
	ask_whole(call, INIT_POLICY);
	settle_ask(c, call);
}

static enum served wait_down(struct conn *c, uint32_t stream, const void *req)
{
	struct call *call;
	enum served served = serve_begin(c, stream, CALL_WAIT, "Wait", &call);

	if (call)
		serve_changed(c->shim);
	return served;
}

static enum served start(struct conn *c, uint32_t stream, const void *req)
{
	struct shim *s = c->shim;
	enum served served;
	struct call *call;

	if (s->phase != PHASE_NEW)
		return serve_error(c, stream, TTRPC_FAILED_PRECONDITION, "%s: Start: %s",
			s->settings.id,
			s->phase == PHASE_DOWN ? "it has ended (a new supervisor starts it again)"
					       : "it is started already");
	served = serve_begin(c, stream, CALL_START, "Start", &call);
	if (call)
		serve_changed(s); /* in a turn of its own */
	return served;
}

static enum served stop_all(struct conn *c, uint32_t stream, const void *req)
{
	const Holdfast__V1__StopRequest *r = req;
	const struct stop_req stop = {
		.signo = r->signal, .has_grace = r->has_grace, .grace_usec = r->grace_usec};

	if (r->signal > SIGNALS)
		return refuse(c, stream, "Stop", -EINVAL);
	/* a second one may mean something else to the service: "at once", for many */
	if (!c->inherited || !stop_was_asked(c->shim, stop))
		stop_begin(c->shim, stop, CLIENT_STOP);
	return serve_done(c, stream);
}

/* It has happened when this returns: there is nothing to wait for. */
static enum served signal_directly(struct conn *c, uint32_t stream, const struct signal_req *signal)
{
	int err = 0;

	if (!c->inherited || !stop_signal_was_asked(c->shim, signal->signo))
		err = stop_signal(c->shim, *signal, 0);
	return err < 0 ? refuse(c, stream, "Kill", err) : serve_done(c, stream);
}

/* The call is whole before the signal goes out, so a successor knows that it may have. */
static enum served ask_signal(struct conn *c, uint32_t stream, const struct signal_req *signal)
{
	enum served served;
	struct call *call;
	int err;

	if (asks_full(c->shim))
		return SERVED_LATER;
	served = serve_begin(c, stream, CALL_ASK, "Kill", &call);
	if (!call)
		return served;
	call->ask.asker = getpid();
	call->ask.signo = signal->signo;
	call->ask.flags = signal->flags;
	ask_whole(call, INIT_SIGNAL);
	err = stop_signal(c->shim, *signal, tag_of(call));
	if (err == STOP_ASKED)
		return SERVED;
	calls_drop(call);
	return err < 0 ? refuse(c, stream, "Kill", err) : serve_done(c, stream);
}

static enum served kill_service(struct conn *c, uint32_t stream, const void *req)
{
	const Holdfast__V1__KillRequest *r = req;
	const struct signal_req signal = {.signo = r->signal, .flags = r->all ? SIGNAL_TO_ALL : 0};

	if (r->signal < 1 || r->signal > SIGNALS)
		return refuse(c, stream, "Kill", -EINVAL);
	if (r->exec)
		return exec_signal(c, stream, r->exec, r->signal);
	return shim_has_init(c->shim) && !stop_means(c->shim, r->signal)
		       ? ask_signal(c, stream, &signal)
		       : signal_directly(c, stream, &signal);
}

static enum served restart(struct conn *c, uint32_t stream, const void *req)
{
	const Holdfast__V1__RestartRequest *r = req;
	struct shim *s = c->shim;
	enum served served;
	struct call *call;

	if (r->signal > SIGNALS)
		return refuse(c, stream, "Restart", -EINVAL);
	if (!shim_has_init(s) || (s->phase != PHASE_RUNNING && s->phase != PHASE_DELAY))
		return refuse(c, stream, "Restart", shim_has_init(s) ? -ESRCH : -ENOTSUP);
	if (asks_full(s))
		return SERVED_LATER;
	served = serve_begin(c, stream, CALL_ASK, "Restart", &call);
	if (!call)
		return served;
	restart_note(s, (struct stop_req){.signo = r->signal,
				.has_grace = r->has_grace,
				.grace_usec = r->grace_usec});
	overload_undo(s);
	pause_thaw(s);
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
	struct shim *s = c->shim;
	enum served served;

	if (!r->force && s->phase != PHASE_DOWN)
		return serve_error(c, stream, TTRPC_FAILED_PRECONDITION,
			"%s: is running (stop it first, or force)", s->settings.id);
	retire_remove(s);
	served = serve_done(c, stream);
	if (s->retiring) /* in a turn of its own: it closes this connection, too */
		loop_timer_set(&s->retire_timer, 0);
	return served;
}

static enum served resize(struct conn *c, uint32_t stream, const void *req)
{
	const Holdfast__V1__ResizePtyRequest *r = req;
	const struct winsize size = {
		.ws_row = (unsigned short)r->rows, .ws_col = (unsigned short)r->columns};
	const struct exec_io *e = r->exec ? exec_io_find(c->shim, r->exec) : NULL;
	int terminal = r->exec ? (e && e->pipe_in >= 0 ? e->in : -1) : c->shim->tty;

	if (r->rows > UINT16_MAX || r->columns > UINT16_MAX)
		return serve_error(c, stream, TTRPC_INVALID_ARGUMENT,
			"ResizePty: %u rows, %u columns: at most 65535", r->rows, r->columns);
	if (terminal < 0 || ioctl(terminal, TIOCSWINSZ, &size) < 0)
		return serve_error(c, stream, TTRPC_FAILED_PRECONDITION, "%s: has no terminal (%s)",
			c->shim->settings.id, r->exec ? "Exec it with one" : "run it with --tty");
	return serve_done(c, stream);
}

const struct serve_method serve_steer_methods[] = {
	{SERVICE, "Wait", &holdfast__v1__wait_request__descriptor, false, wait_down},
	{SERVICE, "Start", &holdfast__v1__start_request__descriptor, true, start},
	{SERVICE, "Stop", &holdfast__v1__stop_request__descriptor, true, stop_all},
	{SERVICE, "Kill", &holdfast__v1__kill_request__descriptor, true, kill_service},
	{SERVICE, "Restart", &holdfast__v1__restart_request__descriptor, true, restart},
	{SERVICE, "Delete", &holdfast__v1__delete_request__descriptor, true, delete_all},
	{SERVICE, "ResizePty", &holdfast__v1__resize_pty_request__descriptor, true, resize},
	{0},
};
