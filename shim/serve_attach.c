/* holdfast.v1.Supervisor: an exec's output as it comes. What was read stands in the table of calls,
 * as with Logs. */
#include "ipc/base/fault.h"
#include "ipc/base/mem.h"
#include "ipc/proto/holdfast/v1/supervisor.pb-c.h"
#include "shim/shim.h"

#define SERVICE	    "holdfast.v1.Supervisor"
#define FRAME_BYTES (28u << 10) /* of output; with its head it fits a frame */
#define FRAMES_TURN 16

/* Output ----------------------------------------------------------------------------------------
 */

enum sent { SENT_NONE, SENT, SENT_BLOCKED, SENT_ENDED };

static enum sent fail(struct conn *c, struct call *call, const char *why)
{
	if (serve_error(c, call->stream, TTRPC_INTERNAL, "Attach: %s", why) == SERVED)
		calls_drop(call);
	return SENT_ENDED;
}

static enum sent send_piece(
	struct conn *c, struct call *call, struct exec_io *e, enum log_stream stream)
{
	static unsigned char bytes[FRAME_BYTES]; /* one call is looked at at a time */
	Holdfast__V1__LogsResponse m;
	uint64_t at = call->logs.at[stream];
	ssize_t n;

	holdfast__v1__logs_response__init(&m);
	n = exec_io_read(e, stream, &at, &m.dropped, bytes, sizeof(bytes));
	if (n < 0)
		return fail(c, call, fault_text());
	if (n == 0)
		return SENT_NONE;
	m.stream = stream == LOG_STDOUT ? HOLDFAST__V1__STREAM__STREAM_STDOUT
					: HOLDFAST__V1__STREAM__STREAM_STDERR;
	m.offset = at;
	m.data.data = bytes;
	m.data.len = (size_t)n;
	if (serve_data(c, call->stream, &m.base) == SERVED_BLOCKED || c->doomed)
		return SENT_BLOCKED;
	call->logs.at[stream] = at + (uint64_t)n;
	return SENT;
}

static bool over(const struct exec_io *e)
{
	return exec_io_over(e, LOG_STDOUT) && exec_io_over(e, LOG_STDERR);
}

void attach_push(struct conn *c, struct call *call)
{
	struct exec_io *e = exec_io_find(c->shim, call->logs.exec);
	enum sent sent[LOG_STREAMS] = {SENT, SENT};
	bool any = false;

	for (int n = 0; e && n < FRAMES_TURN && (sent[0] == SENT || sent[1] == SENT); n++)
		for (int i = 0; i < LOG_STREAMS; i++) {
			sent[i] = send_piece(c, call, e, (enum log_stream)i);
			if (sent[i] == SENT_BLOCKED || sent[i] == SENT_ENDED)
				return;
			any = any || sent[i] == SENT;
		}
	if (sent[0] == SENT_NONE && sent[1] == SENT_NONE && over(e)) {
		if (serve_answer(c, call->stream, NULL) == SERVED)
			calls_drop(call);
	} else if (!e) {
		fail(c, call, "its output is no longer kept");
	} else if (any) {
		exec_io_read_on(c->shim);
		serve_changed(c->shim);
	}
}

static enum served attach(struct conn *c, uint32_t stream, const void *req)
{
	const Holdfast__V1__AttachRequest *r = req;
	enum served served;
	struct call *call;

	if (!r->exec)
		return logs_from_end(c, stream);
	if (!exec_io_find(c->shim, r->exec))
		return serve_error(c, stream, TTRPC_NOT_FOUND,
			"%s: Attach: exec %u: no output of it is kept (begin it with `output` or a terminal)",
			c->shim->settings.id, r->exec);
	served = serve_begin(c, stream, CALL_ATTACH, "Attach", &call);
	if (!call)
		return served;
	call->logs.at[LOG_STDOUT] = r->stdout_offset;
	call->logs.at[LOG_STDERR] = r->stderr_offset;
	call->logs.exec = r->exec;
	serve_changed(c->shim);
	return SERVED;
}

const struct serve_method serve_attach_methods[] = {
	{SERVICE, "Attach", &holdfast__v1__attach_request__descriptor, true, attach},
	{SERVICE, "WriteStdin", &holdfast__v1__write_stdin_request__descriptor, true, stdin_write},
	{0},
};
