/* Events to watchers, straight from the journal: each stream has a place in it and goes on from
 * there, so a slow reader costs nothing but its own delay and a new shim goes on where the old one
 * was. Those who are level share the encoded frame. */
#include <errno.h>
#include <string.h>

#include "ipc/base/fault.h"
#include "ipc/base/log.h"
#include "ipc/event_msg.h"
#include "shim/shim.h"

#define EVENTS_MAX  32		/* in one message */
#define READ_BYTES  (12u << 10) /* of journal for one message: encoded it fits a frame */
#define PUSH_FRAMES 4		/* of one stream in one turn */

struct batch {
	uint64_t from; /* behind this one */
	uint64_t last; /* newest event in it; == from: none */
	size_t len;
	struct event_msg events[EVENTS_MAX];
	Holdfast__V1__Event *pointers[EVENTS_MAX];
};

/* The newest batch that was read, and its frame without the stream's number. */
static struct batch batch;
static struct msg_frame level;

uint64_t watch_instance(const struct shim *s)
{
	return s->settings.real_created;
}

static void add_gap(struct batch *b, uint64_t seq, uint64_t missed)
{
	event_gap(&b->events[b->len], seq, missed);
	b->pointers[b->len] = &b->events[b->len].event;
	b->len++;
	b->last = seq;
}

static void add_records(struct batch *b, const char *data, size_t len, uint32_t limit)
{
	for (size_t at = 0; at < len && b->len < limit;) {
		const struct record *r = (const void *)(data + at);

		if (r->type == RECORD_GAP)
			event_gap(&b->events[b->len], r->seq, r->seq - b->last);
		else
			event_from_record(&b->events[b->len], r);
		b->pointers[b->len] = &b->events[b->len].event;
		b->len++;
		b->last = r->seq;
		at += r->len;
	}
}

/* Reads what follows `from`. 0 or a fault. */
static int batch_read(struct shim *s, uint64_t from, uint32_t limit)
{
	static uint64_t buf[READ_BYTES / 8];
	static struct journal_place place; /* where the last one ended */
	uint64_t missed;
	ssize_t n;

	if (place.seq != from)
		place = (struct journal_place){.seq = from};
	batch.from = batch.last = from;
	batch.len = 0;
	n = journal_read(&s->journal, &place, buf, sizeof(buf), &missed);
	if (n < 0)
		return (int)n;
	if (missed)
		add_gap(&batch, place.seq, missed);
	add_records(&batch, (const char *)buf, (size_t)n, limit);
	for (size_t at = 0; at < (size_t)n && place.seq < batch.last;) {
		const struct record *r = (const void *)((char *)buf + at);

		journal_passed(&place, r);
		at += r->len;
	}
	return 0;
}

/* The frame that follows `from`, for any stream: in `level`. false: there is nothing. */
static bool level_read(struct shim *s, uint64_t from)
{
	Holdfast__V1__WatchResponse m;

	if (level.len && batch.from == from && batch.last > from)
		return true;
	level.len = 0;
	holdfast__v1__watch_response__init(&m);
	if (batch_read(s, from, EVENTS_MAX) < 0) {
		log_error("%s", fault_text());
		return false;
	}
	if (batch.len == 0)
		return false;
	m.n_events = batch.len;
	m.events = batch.pointers;
	m.instance = watch_instance(s);
	return msg_data(&level, 0, &m.base) == 0;
}

void watch_push(struct conn *c, struct call *call)
{
	struct shim *s = c->shim;

	for (int i = 0; i < PUSH_FRAMES && call->seq < s->journal.now.seq; i++) {
		struct ttrpc_head h;

		if (!level_read(s, call->seq))
			return;
		h = ttrpc_get(level.bytes);
		h.stream = call->stream;
		ttrpc_put(level.bytes, h);
		if (serve_send(c, &level) == SERVED_BLOCKED || c->doomed)
			return;
		call->seq = batch.last;
	}
	if (call->seq < s->journal.now.seq)
		serve_changed(s);
}

static bool ahead(const struct shim *s, uint64_t seq)
{
	return seq > s->journal.now.seq;
}

static enum served refuse_ahead(struct conn *c, uint32_t stream, uint64_t seq)
{
	return serve_error(c, stream, TTRPC_INVALID_ARGUMENT,
		"from.sequence %llu: the newest event is %llu", (unsigned long long)seq,
		(unsigned long long)c->shim->journal.now.seq);
}

enum served watch_begin(struct conn *c, uint32_t stream, uint64_t from_seq)
{
	enum served served;
	struct call *call;

	if (ahead(c->shim, from_seq))
		return refuse_ahead(c, stream, from_seq);
	served = serve_begin(c, stream, CALL_WATCH, "Watch", &call);
	if (!call)
		return served;
	call->seq = from_seq;
	serve_changed(c->shim);
	return SERVED;
}

enum served watch_list(struct conn *c, uint32_t stream, uint64_t from_seq, uint32_t limit)
{
	Holdfast__V1__ListEventsResponse m;
	Holdfast__V1__Cursor next;

	if (ahead(c->shim, from_seq))
		return refuse_ahead(c, stream, from_seq);
	holdfast__v1__list_events_response__init(&m);
	holdfast__v1__cursor__init(&next);
	level.len = 0; /* the batch is about to be another */
	if (batch_read(c->shim, from_seq, limit && limit < EVENTS_MAX ? limit : EVENTS_MAX) < 0)
		return serve_error(c, stream, TTRPC_INTERNAL, "%s", fault_text());
	next.instance = watch_instance(c->shim);
	next.sequence = batch.last;
	m.next = &next;
	m.n_events = batch.len;
	m.events = batch.pointers;
	return serve_answer(c, stream, &m.base);
}
