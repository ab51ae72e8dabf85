/* holdfast.v1.Supervisor: standard input. What a pipe takes now is written while its request is
 * still in its socket. What it does not take waits in the table of calls, and its connection goes
 * on. That a chunk is about to be written stands in the table first: a successor that finds only
 * that does not write it again. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "ipc/base/fd.h"
#include "ipc/proto/holdfast/v1/supervisor.pb-c.h"
#include "shim/shim.h"

_Static_assert(STDIN_BYTES_MAX <= CALLS_CHUNK_BYTES, "a chunk of a request has room");

typedef Holdfast__V1__WriteStdinRequest request;

struct target {
	int fd;
	bool terminal;
	struct exec_io *exec; /* NULL: the service */
};

static struct target target_of(const struct shim *s, uint32_t exec)
{
	struct target t = {.fd = -1};

	if (exec) {
		t.exec = exec_io_find(s, exec);
		t.fd = t.exec ? t.exec->in : -1;
		t.terminal = t.exec && t.exec->pipe_in >= 0;
	} else {
		t.terminal = s->tty >= 0;
		t.fd = t.terminal ? s->tty : s->stdin_fd;
	}
	return t;
}

static void close_input(struct shim *s, const struct target *t)
{
	if (t->exec) {
		exec_io_close_input(t->exec);
		return;
	}
	fd_close(&s->stdin_fd);
	link_init_unkeep(s, HELD_STDIN, 0); /* before the keeper's: a successor does it again */
	link_keeper_drop(s, HELD_STDIN, 0);
}

static void await_room(struct shim *s, const struct target *t)
{
	exec_io_await_room(s, t->exec ? &t->exec->room : &s->serve.stdin_room, t->fd);
}

/* Answers -------------------------------------------------------------------------------------- */

static enum served tell_written(struct conn *c, const struct call *call)
{
	struct target t = target_of(c->shim, call->in.exec);
	Holdfast__V1__WriteStdinResponse m;

	if (call->answered && call->in.wrote < 0)
		return serve_error(c, call->stream, TTRPC_FAILED_PRECONDITION, "%s: WriteStdin: %s",
			c->shim->settings.id, strerror(-call->in.wrote));
	holdfast__v1__write_stdin_response__init(&m);
	m.uncertain = !call->answered;
	m.written = m.uncertain ? 0 : (uint32_t)call->in.wrote;
	if (call->in.close && !t.terminal && t.fd >= 0)
		close_input(c->shim, &t); /* twice is once */
	return serve_answer(c, call->stream, &m.base);
}

static enum served refuse(struct conn *c, uint32_t stream, const request *r, bool terminal)
{
	if (r->data.len > STDIN_BYTES_MAX)
		return serve_error(c, stream, TTRPC_INVALID_ARGUMENT,
			"WriteStdin: %zu bytes: at most %u at a time", r->data.len,
			STDIN_BYTES_MAX);
	if (terminal && r->close)
		return serve_error(c, stream, TTRPC_INVALID_ARGUMENT,
			"WriteStdin: a terminal is not closed (write its end-of-file character, 4)");
	return serve_error(c, stream, TTRPC_FAILED_PRECONDITION,
		"%s: WriteStdin: there is no standard input, or it has ended (it must be asked for at the start)",
		c->shim->settings.id);
}

/* Writing --------------------------------------------------------------------------------------
 */

/* false: it takes nothing now. At most PIPE_BUF: a pipe takes all of it or nothing. Asked first, so
 * that a death over a pipe that is full leaves nothing uncertain. */
static bool write_now(struct call *call, const struct target *t, const void *data, size_t len)
{
	struct pollfd p = {.fd = t->fd, .events = POLLOUT};
	ssize_t n;

	if (len && poll(&p, 1, 0) == 0)
		return false;
	call->in.writer = getpid();
	n = len ? write(t->fd, data, len) : 0;
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		call->in.writer = 0; /* nothing was written: a successor may */
		return false;
	}
	call->in.wrote = n < 0 ? -errno : (int32_t)n;
	call->answered = 1;
	return true;
}

/* The first of those that wait for this input; NULL: nobody does. */
static const struct call *first_of(const struct shim *s, uint32_t exec)
{
	const struct call *first = NULL;

	for (unsigned i = 0; i < CALLS_MAX; i++) {
		const struct call *call = &s->calls.table->calls[i];

		if (call->conn && call->method == CALL_STDIN && call->in.chunk && !call->answered &&
			!call->in.writer && call->in.exec == exec &&
			(!first || (int32_t)(call->in.turn - first->in.turn) < 0))
			first = call;
	}
	return first;
}

/* Its turn, maybe: everybody's is looked at whenever something has changed. */
static void write_chunk(struct shim *s, struct call *call)
{
	struct target t = target_of(s, call->in.exec);

	if (first_of(s, call->in.exec) != call)
		return;
	if (t.fd < 0) {
		call->in.wrote = -EPIPE;
		call->answered = 1;
	} else if (!write_now(call, &t, calls_chunk(&s->calls, call), call->in.len)) {
		await_room(s, &t);
		return;
	}
	serve_changed(s); /* the next one's */
}

void stdin_settle(struct conn *c, struct call *call)
{
	if (call->stream > c->entry->last_stream)
		return; /* its request comes again */
	if (call->in.chunk) {
		if (!call->answered && !call->in.writer)
			write_chunk(c->shim, call);
		if (!call->answered && !call->in.writer)
			return;
		if (tell_written(c, call) != SERVED)
			return;
		calls_forget_chunk(&c->shim->calls, call);
	}
	calls_drop(call);
}

/* There is no room in the table either: the connection waits, as nobody else can. */
static enum served wait_in_socket(struct conn *c, struct call *call, const struct target *t)
{
	calls_drop(call);
	await_room(c->shim, t);
	return SERVED_LATER;
}

enum served stdin_write(struct conn *c, uint32_t stream, const void *req)
{
	struct call *call = calls_find(&c->shim->calls, c->peer.id, stream);
	const request *r = req;
	struct target t = target_of(c->shim, r->exec);
	enum served served;
	uint64_t deadline;

	if (call && call->in.chunk)
		return SERVED; /* all but taken off */
	if (call && (call->in.writer || call->answered))
		return tell_written(c, call);
	if (call)
		calls_drop(call); /* a predecessor came no further than that */
	if (t.fd < 0 || r->data.len > STDIN_BYTES_MAX || (t.terminal && r->close))
		return refuse(c, stream, r, t.terminal);
	served = serve_begin(c, stream, CALL_STDIN, "WriteStdin", &call);
	if (!call)
		return served;
	deadline = call->deadline;
	call->deadline = 0; /* while it is in its socket it would come again */
	call->in.exec = r->exec;
	call->in.close = r->close;
	if (!first_of(c->shim, r->exec) && write_now(call, &t, r->data.data, r->data.len)) {
		serve_changed(c->shim);
		return tell_written(c, call);
	}
	if (!calls_keep_chunk(&c->shim->calls, call, r->data.data, (uint32_t)r->data.len))
		return wait_in_socket(c, call, &t);
	call->deadline = deadline;
	await_room(c->shim, &t);
	return SERVED;
}
