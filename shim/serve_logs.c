/* holdfast.v1.Supervisor.Logs: the raw output from a place on. The place stands in the table of
 * calls, so a successor goes on there; what is open here is only to be quick. */
#include <string.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/log.h"
#include "ipc/base/mem.h"
#include "ipc/log_seek.h"
#include "ipc/logread.h"
#include "ipc/proto/holdfast/v1/supervisor.pb-c.h"
#include "shim/shim.h"

#define SERVICE	     "holdfast.v1.Supervisor"
#define READERS_MAX  16		 /* calls at a time: each has up to four files open */
#define READERS_KEPT 4		 /* of them, for those who may change something */
#define TAIL_LINES   10000	 /* the last lines are found in one turn of the loop */
#define TAIL_BYTES   (1u << 20)	 /* of each stream, for them */
#define FRAME_BYTES  (28u << 10) /* of output; with its head it fits a frame */
#define FRAMES_TURN  8
#define GROWN_USEC   (2 * USEC_PER_MSEC) /* what comes meanwhile goes along */

struct reader {
	uint64_t conn; /* 0: free */
	uint32_t stream;
	struct logread logread;
};

static struct reader readers[READERS_MAX];

static struct reader *reader_find(uint64_t conn, uint32_t stream)
{
	for (size_t i = 0; i < array_size(readers); i++)
		if (readers[i].conn == conn && (!conn || readers[i].stream == stream))
			return &readers[i];
	return NULL;
}

static void reader_end(struct reader *r)
{
	logread_finish(&r->logread);
	r->conn = 0;
}

void logs_forget(uint64_t conn)
{
	for (size_t i = 0; i < array_size(readers); i++)
		if (readers[i].conn == conn)
			reader_end(&readers[i]);
}

void logs_end(const struct call *call)
{
	struct reader *r = reader_find(call->conn, call->stream);

	if (r)
		reader_end(r);
}

/* The call's, opened at its place when there is none yet. Every call has one. */
static struct reader *reader_of(struct conn *c, const struct call *call)
{
	struct reader *r = reader_find(call->conn, call->stream);

	if (r)
		return r;
	r = reader_find(0, 0);
	if (!r)
		return NULL;
	*r = (struct reader){.conn = call->conn, .stream = call->stream};
	logread_init(&r->logread, c->shim->log_dirfd);
	logread_seek(&r->logread, call->logs.at);
	for (int i = 0; i < LOG_STREAMS; i++)
		r->logread.s[i].wanted = call->logs.flags & (CALL_LOGS_STDOUT << i);
	return r;
}

static void end(struct conn *c, struct call *call, const char *why)
{
	enum served served = why ? serve_error(c, call->stream, TTRPC_INTERNAL, "Logs: %s", why)
				 : serve_answer(c, call->stream, NULL);

	if (served == SERVED_BLOCKED)
		return;
	logs_end(call);
	calls_drop(call);
}

static enum served send_piece(
	struct conn *c, const struct call *call, const struct logread_piece *p)
{
	Holdfast__V1__LogsResponse m;

	holdfast__v1__logs_response__init(&m);
	m.stream = p->stream == LOG_STDOUT ? HOLDFAST__V1__STREAM__STREAM_STDOUT
					   : HOLDFAST__V1__STREAM__STREAM_STDERR;
	m.offset = p->at;
	m.data.data = (uint8_t *)(uintptr_t)p->bytes; /* packing does not write to it */
	m.data.len = p->len;
	m.time_usec = p->when.real_usec;
	m.run = p->when.run;
	m.dropped = p->dropped;
	return serve_data(c, call->stream, &m.base);
}

/* Nothing more will be written, and all of it is sent. */
static bool over(const struct shim *s, const struct call *call)
{
	const struct exit_info *e = &s->journal.now.last;
	uint32_t flags = call->logs.flags;

	return !(flags & CALL_LOGS_FOLLOW) ||
	       (s->phase == PHASE_DOWN &&
		       (!(flags & CALL_LOGS_STDOUT) || call->logs.at[0] >= e->stdout_end) &&
		       (!(flags & CALL_LOGS_STDERR) || call->logs.at[1] >= e->stderr_end));
}

static void on_grown(void *ctx)
{
	struct shim *s = ctx;

	loop_timer_set(&s->serve.follow_timer, GROWN_USEC);
}

void logs_push(struct conn *c, struct call *call)
{
	static struct logread_piece piece; /* one call is looked at at a time */
	struct reader *r = reader_of(c, call);

	if (!r) {
		end(c, call, "too many calls at a time");
		return;
	}
	if (call->logs.flags & CALL_LOGS_FOLLOW) /* before the end is seen: what follows is told */
		pump_tell(&c->shim->pump, on_grown);
	r->logread.most = FRAME_BYTES;
	for (int i = 0; i < FRAMES_TURN; i++) {
		int n = logread_next(&r->logread, &piece);

		if (n < 0) {
			end(c, call, fault_text());
			return;
		}
		if (n == 0 && over(c->shim, call)) {
			end(c, call, NULL);
			return;
		}
		if (n == 0)
			return;
		if (send_piece(c, call, &piece) == SERVED_BLOCKED || c->doomed) {
			reader_end(r); /* read again from its place */
			return;
		}
		call->logs.at[piece.stream] = piece.at + piece.len;
	}
	serve_changed(c->shim);
}

/* Calls are counted, not what is open for them: who does not read has nothing open, and goes on. */
static bool readers_full(const struct conn *c)
{
	const struct calls *calls = &c->shim->calls;

	return calls_count(calls, CALL_LOGS, false) >= READERS_MAX ||
	       (c->peer.socket == SOCKET_OBSERVE &&
		       calls_count(calls, CALL_LOGS, true) >= READERS_MAX - READERS_KEPT);
}

/* Where it begins: 0 or a fault. */
static int begin_at(
	const struct shim *s, const Holdfast__V1__LogsRequest *r, const bool *wanted, uint64_t *at)
{
	int result = 0;

	if (r->since_time_usec)
		result = log_seek_time(s->log_dirfd, r->since_time_usec, at);
	if (result == 0 && r->tail_lines)
		result = log_seek_lines(s->log_dirfd, wanted, r->tail_lines, TAIL_BYTES, at);
	return result;
}

static enum served begin(struct conn *c, uint32_t stream, const uint64_t *at, uint32_t flags)
{
	enum served served;
	struct call *call;

	if (readers_full(c))
		return serve_error(c, stream, TTRPC_RESOURCE_EXHAUSTED,
			"Logs: %u calls at a time, %u on the observe socket, no more (end one of them)",
			READERS_MAX, READERS_MAX - READERS_KEPT);
	served = serve_begin(c, stream, CALL_LOGS, "Logs", &call);
	if (!call)
		return served;
	memcpy(call->logs.at, at, sizeof(call->logs.at));
	call->logs.flags = flags;
	serve_changed(c->shim);
	return SERVED;
}

enum served logs_from_end(struct conn *c, uint32_t stream)
{
	uint64_t at[LOG_STREAMS];

	for (int i = 0; i < LOG_STREAMS; i++) {
		int64_t end = log_stream_end(c->shim->log_dirfd, (enum log_stream)i);

		if (end < 0)
			return serve_error(c, stream, TTRPC_INTERNAL, "Attach: %s", fault_text());
		at[i] = (uint64_t)end;
	}
	return begin(c, stream, at, CALL_LOGS_FOLLOW | CALL_LOGS_STDOUT | CALL_LOGS_STDERR);
}

static enum served logs(struct conn *c, uint32_t stream, const void *req)
{
	const Holdfast__V1__LogsRequest *r = req;
	const bool wanted[LOG_STREAMS] = {r->stream != HOLDFAST__V1__STREAM__STREAM_STDERR,
		r->stream != HOLDFAST__V1__STREAM__STREAM_STDOUT};
	uint64_t at[LOG_STREAMS] = {0};

	if ((unsigned)r->stream > HOLDFAST__V1__STREAM__STREAM_STDERR)
		return serve_error(c, stream, TTRPC_INVALID_ARGUMENT,
			"stream %d: use STREAM_STDOUT, STREAM_STDERR or none", r->stream);
	if (r->tail_lines > TAIL_LINES)
		return serve_error(c, stream, TTRPC_INVALID_ARGUMENT,
			"tail_lines %llu: at most %u here", (unsigned long long)r->tail_lines,
			TAIL_LINES);
	if (begin_at(c->shim, r, wanted, at) < 0)
		return serve_error(c, stream, TTRPC_INTERNAL, "Logs: %s", fault_text());
	return begin(c, stream, at,
		(r->follow ? CALL_LOGS_FOLLOW : 0) | (wanted[LOG_STDOUT] ? CALL_LOGS_STDOUT : 0) |
			(wanted[LOG_STDERR] ? CALL_LOGS_STDERR : 0));
}

const struct serve_method serve_logs_methods[] = {
	{SERVICE, "Logs", &holdfast__v1__logs_request__descriptor, false, logs},
	{0},
};
