/* holdfast.v1.Supervisor: commands beside the service. Their request stays in its socket until init
 * has answered, and its id stands in the table of calls before init is asked: whichever shim does
 * the asking, and however often, the command is begun once. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/proc.h"
#include "ipc/event_msg.h"
#include "ipc/exec_plan.h"
#include "ipc/exec_write.h"
#include "shim/shim.h"

#define SERVICE "holdfast.v1.Supervisor"

typedef Holdfast__V1__ExecRequest request;

static uint64_t tag_of(const struct call *call)
{
	return ONCE_TAG | (call->conn & INT32_MAX) << 32 | call->stream;
}

/* Answers --------------------------------------------------------------------------------------
 */

static enum served refuse(struct conn *c, uint32_t stream, int err)
{
	const char *id = c->shim->settings.id;

	switch (err) {
	case -EUSERS:
	case -EBUSY:
	case -EAGAIN:
		return serve_error(c, stream, TTRPC_RESOURCE_EXHAUSTED,
			"%s: Exec: %s (wait until one has ended)", id,
			err == -EBUSY ? fault_text() : "too many execs at once");
	case -ESRCH:
		return serve_error(c, stream, TTRPC_FAILED_PRECONDITION,
			"%s: Exec: the service is not running", id);
	case -ENOTCONN:
	case -EPIPE:
	case -ECONNRESET:
		return serve_error(c, stream, TTRPC_FAILED_PRECONDITION,
			"%s: Exec: the container has ended", id);
	default:
		return serve_error(c, stream, TTRPC_INTERNAL, "%s: Exec: %s", id, strerror(-err));
	}
}

static void end_info(const struct shim *s, const struct exec_end *end, struct exit_info *ret)
{
	*ret = (struct exit_info){
		.run = s->shared ? s->shared->run : s->journal.now.run,
		.flags = end->flags,
		.code = end->code,
		.signal = end->signal,
		.step = end->step,
		.errnum = end->errnum,
		.count = 1,
	};
}

/* true: it is told. */
static bool tell_end(struct conn *c, const struct call *call, bool begun)
{
	Holdfast__V1__WaitExecResponse waited;
	Holdfast__V1__ExecResponse exec;
	Holdfast__V1__Exit exit;
	struct exit_info info;
	struct exec_end end;

	/* what the ring still has is journalled first, in its turn; then we are called again */
	if (execs_end(c->shim, call->exec.id, &end) == 0 || exits_behind(c->shim))
		return false;
	end_info(c->shim, &end, &info);
	event_exit(&exit, &info);
	holdfast__v1__wait_exec_response__init(&waited);
	holdfast__v1__exec_response__init(&exec);
	waited.exit = exec.exit = &exit;
	exec.id = call->exec.id;
	exec.pid = call->exec.pid;
	return serve_answer(c, call->stream, begun ? &exec.base : &waited.base) == SERVED;
}

void exec_settle(struct conn *c, struct call *call)
{
	if (call->method == CALL_EXEC || call->method == CALL_KILL_EXEC) {
		if (call->stream <= c->entry->last_stream)
			calls_drop(call); /* answered and taken off */
	} else if (tell_end(c, call, call->method == CALL_EXEC_END)) {
		calls_drop(call);
	}
}

/* Asking init ----------------------------------------------------------------------------------
 */

static int plan_of(const request *r)
{
	const struct exec_wish wish = {
		.argv = r->args,
		.argc = r->n_args,
		.env = r->env,
		.env_len = r->n_env,
		.cwd = r->cwd[0] ? r->cwd : NULL,
		.terminal = r->terminal,
		.has_user = r->user,
		.uid = r->user ? r->user->uid : 0,
		.gid = r->user ? r->user->gid : 0,
		.groups = r->user ? r->user->groups : NULL,
		.groups_len = r->user ? r->user->n_groups : 0,
	};

	return exec_write(&wish);
}

static int send_ask(struct shim *s, struct call *call, int plan, const int stdio[3])
{
	struct u64_req id = {call->exec.id};
	auto_fd null = open("/dev/null", O_RDWR | O_CLOEXEC);
	const int fds[EXEC_FDS] = {plan, stdio[0], stdio[1], stdio[2], null};

	if (null < 0)
		return -errno;
	call->exec.asker = getpid();
	if (!shim_has_init(s))
		return exec_alone_begin(s, call->exec.id, tag_of(call), fds);
	return link_init_send_fds(s, INIT_EXEC, tag_of(call), &id, sizeof(id), fds, EXEC_FDS);
}

/* What it has begun already it will tell again, and want none of this. */
static int ask_again(struct shim *s, struct call *call)
{
	auto_fd null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return -errno;
	return send_ask(s, call, null, (const int[]){null, null, null});
}

static int ask(struct shim *s, struct call *call, const request *r)
{
	const struct exec_io_wish wish = {
		.terminal = r->terminal,
		.input = r->input,
		.output = r->output,
		.rows = (uint16_t)r->rows,
		.columns = (uint16_t)r->columns,
	};
	int stdio[3] = {-1, -1, -1}, result;
	auto_fd plan = -1;

	if (execs_known(s, call->exec.id))
		return ask_again(s, call);
	result = plan = plan_of(r);
	if (plan >= 0)
		result = exec_io_make(s, call->exec.id, &wish, stdio);
	if (result == 0)
		result = send_ask(s, call, plan, stdio);
	for (int i = 0; i < 3; i++)
		if (stdio[i] >= 0 && (i == 0 || stdio[i] != stdio[i - 1]))
			close(stdio[i]);
	return result;
}

/* init has spoken: its answer is fetched by the request, which is still in its socket. */
static void answered(struct shim *s, struct call *call, int err)
{
	call->exec.err = err;
	call->answered = 1;
	serve_changed(s);
}

static struct call *call_of(const struct shim *s, uint64_t tag)
{
	for (unsigned i = 0; s->calls.table && i < CALLS_MAX; i++) {
		struct call *call = &s->calls.table->calls[i];

		if (call->conn && !call->answered && tag_of(call) == tag &&
			(call->method == CALL_EXEC || call->method == CALL_KILL_EXEC))
			return call;
	}
	return NULL;
}

void exec_answered(struct shim *s, uint64_t tag, int err)
{
	struct call *call = call_of(s, tag);

	if (call)
		answered(s, call, call->method == CALL_KILL_EXEC && err == 0 ? -ESRCH : err);
}

void exec_begun(struct shim *s, uint64_t tag, int32_t pid, int pidfd)
{
	struct call *call = call_of(s, tag);
	int err = 0;

	if (!call)
		return;
	if (call->method == CALL_KILL_EXEC)
		err = pidfd_kill(pidfd, call->exec.pid);
	else
		call->exec.pid = pid > 0 ? pid : 0; /* else it has ended and was reaped */
	answered(s, call, err < 0 ? -ESRCH : 0);
}

void exec_unanswered(struct shim *s)
{
	for (unsigned i = 0; s->calls.table && i < CALLS_MAX; i++) {
		struct call *call = &s->calls.table->calls[i];

		if (call->conn && !call->answered &&
			(call->method == CALL_EXEC || call->method == CALL_KILL_EXEC))
			answered(s, call, -ESRCH);
	}
}

const struct exec_req *exec_asked(const struct shim *s, uint64_t tag)
{
	const struct call *call = call_of(s, tag);

	for (const struct conn *c = s->serve.first; call && c; c = c->next)
		if (c->peer.id == call->conn)
			return &c->exec;
	return NULL;
}

/* Methods -------------------------------------------------------------------------------------- */

static const char *wrong(const request *r)
{
	if (!r->n_args || !r->args[0][0])
		return "args: which command?";
	if (r->cwd[0] && r->cwd[0] != '/')
		return "cwd: not an absolute path";
	if (r->rows > UINT16_MAX || r->columns > UINT16_MAX)
		return "rows, columns: at most 65535";
	for (size_t i = 0; i < r->n_env; i++)
		if (!strchr(r->env[i], '=') || r->env[i][0] == '=')
			return "env: use NAME=VALUE";
	return NULL;
}

static enum served check(struct conn *c, uint32_t stream, const request *r, bool *good)
{
	const struct shim *s = c->shim;
	const char *what = wrong(r);

	*good = false;
	if (what)
		return serve_error(c, stream, TTRPC_INVALID_ARGUMENT, "Exec: %s", what);
	if (s->journal.now.paused)
		return serve_error(c, stream, TTRPC_FAILED_PRECONDITION,
			"%s: Exec: is paused (Resume it first)", s->settings.id);
	*good = true;
	return SERVED;
}

static enum served answer(struct conn *c, struct call *call, bool wait)
{
	Holdfast__V1__ExecResponse m;

	if (call->exec.err < 0) {
		exec_io_forget(c->shim, call->exec.id);
		return refuse(c, call->stream, call->exec.err);
	}
	if (wait) {
		call->method = CALL_EXEC_END;
		serve_changed(c->shim);
		return SERVED;
	}
	holdfast__v1__exec_response__init(&m);
	m.id = call->exec.id;
	m.pid = call->exec.pid;
	return serve_answer(c, call->stream, &m.base);
}

static enum served begun_call(struct conn *c, struct call *call, const request *r)
{
	struct shim *s = c->shim;
	int err;

	if (call->method == CALL_EXEC_END)
		return SERVED; /* all but taken off */
	if (!call->answered && call->exec.asker != getpid() && !s->sync_tag) {
		err = ask(s, call, r);
		if (err < 0) {
			call->exec.err = err;
			call->answered = 1;
		}
	}
	return call->answered ? answer(c, call, r->wait) : SERVED_LATER;
}

static enum served exec(struct conn *c, uint32_t stream, const void *req)
{
	struct call *call = calls_find(&c->shim->calls, c->peer.id, stream);
	const request *r = req;
	enum served served;
	bool good;

	c->exec.flags = r->terminal ? EXEC_TTY : 0;
	snprintf(c->exec.command, sizeof(c->exec.command), "%s", r->n_args ? r->args[0] : "");
	if (call && !call->exec.id) { /* a predecessor died before it had one */
		calls_drop(call);
		call = NULL;
	}
	if (call)
		return begun_call(c, call, r);
	served = check(c, stream, r, &good);
	if (!good)
		return served;
	served = serve_begin(c, stream, CALL_EXEC, "Exec", &call);
	if (!call)
		return served;
	call->deadline = 0; /* its request would come again, and begin another one */
	call->exec.id = EXEC_IS_API | (++c->shim->calls.table->head.execs & ~EXEC_IS_PROBE);
	return begun_call(c, call, r);
}

static enum served no_exec(struct conn *c, uint32_t stream, uint32_t id)
{
	return serve_error(c, stream, TTRPC_NOT_FOUND,
		"%s: exec %u: there is none, or it ended long ago (the events tell)",
		c->shim->settings.id, id);
}

static enum served wait_exec(struct conn *c, uint32_t stream, const void *req)
{
	const Holdfast__V1__WaitExecRequest *r = req;
	enum served served;
	struct call *call;

	if (!execs_known(c->shim, r->id))
		return no_exec(c, stream, r->id);
	served = serve_begin(c, stream, CALL_WAIT_EXEC, "WaitExec", &call);
	if (call) {
		call->exec.id = r->id;
		serve_changed(c->shim);
	}
	return served;
}

/* By its pidfd, for which init is asked: whose pid it is now nobody else can tell. */
enum served exec_signal(struct conn *c, uint32_t stream, uint32_t id, uint32_t signo)
{
	struct call *call = calls_find(&c->shim->calls, c->peer.id, stream);
	enum served served = SERVED;
	Holdfast__V1__KillResponse m;

	holdfast__v1__kill_response__init(&m);
	if (!call && !execs_known(c->shim, id))
		return no_exec(c, stream, id);
	if (!call)
		served = serve_begin(c, stream, CALL_KILL_EXEC, "Kill", &call);
	if (!call)
		return served;
	call->deadline = 0;
	call->exec.id = id;
	call->exec.pid = (int32_t)signo;
	if (!call->answered && call->exec.asker != getpid() && !c->shim->sync_tag &&
		ask_again(c->shim, call) < 0)
		answered(c->shim, call, -ESRCH);
	if (!call->answered)
		return SERVED_LATER;
	if (call->exec.err < 0)
		return serve_error(c, stream, TTRPC_FAILED_PRECONDITION,
			"%s: Kill: exec %u has ended", c->shim->settings.id, id);
	return serve_answer(c, stream, &m.base);
}

const struct serve_method serve_exec_methods[] = {
	{SERVICE, "Exec", &holdfast__v1__exec_request__descriptor, true, exec},
	{SERVICE, "WaitExec", &holdfast__v1__wait_exec_request__descriptor, false, wait_exec},
	{0},
};
