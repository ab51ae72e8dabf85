#include "cli/event_source.h"

#include <errno.h>
#include <poll.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/mem.h"
#include "ipc/msg.h"

#define ANSWER_USEC (10 * USEC_PER_SEC)

uint64_t event_source_instance(const struct state *state)
{
	struct settings settings;

	return settings_read(state->dirfd, &settings) < 0 ? 0 : settings.real_created;
}

int event_source_open(struct event_source *s, struct state *state)
{
	*s = (struct event_source){.state = *state};
	state->dirfd = -1;
	s->instance = event_source_instance(&s->state);
	return 0;
}

static void watch_end(struct event_source *s)
{
	holdfast_close(take(s->watch));
}

static void journal_end(struct event_source *s)
{
	if (s->have_journal)
		journal_reader_finish(&s->journal);
	s->have_journal = s->have_head = false;
}

void event_source_close(struct event_source *s)
{
	watch_end(s);
	journal_end(s);
	state_close(&s->state);
}

/* None yet is none: its supervisor is being born. */
static int journal_begin(struct event_source *s)
{
	int r = s->have_journal ? 0 : journal_reader_open(&s->journal, s->state.dirfd, s->seq);

	s->have_journal = s->have_journal || r == 0;
	return r == -ENOENT ? 0 : r;
}

int event_source_peek(struct event_source *s)
{
	const struct record *record;
	uint64_t missed;
	int r;

	if (s->have_head)
		return 1;
	r = journal_begin(s);
	if (r < 0 || !s->have_journal)
		return r;
	r = journal_reader_next(&s->journal, &record, &missed);
	if (r <= 0)
		return r;
	if (r == JOURNAL_GAP)
		event_gap(&s->head, s->journal.seq, missed);
	else
		event_from_record(&s->head, record);
	s->have_head = true;
	return 1;
}

void event_source_taken(struct event_source *s)
{
	s->seq = s->head.event.sequence;
	s->have_head = false;
}

static int watch_request(struct event_source *s)
{
	Holdfast__V1__WatchRequest request;
	Holdfast__V1__Cursor from;
	unsigned char buf[64];

	holdfast__v1__watch_request__init(&request);
	holdfast__v1__cursor__init(&from);
	from.instance = s->instance;
	from.sequence = s->seq;
	request.from = &from;
	return holdfast_stream(s->watch, "Watch", buf, msg_pack(&request.base, buf, sizeof(buf)));
}

bool event_source_watch(struct event_source *s)
{
	if (s->watch)
		return true;
	if (holdfast_open(state_root(), REALM, s->state.id, HOLDFAST_OBSERVE, &s->watch) == 0) {
		holdfast_timeout(s->watch, ANSWER_USEC); /* of a frame that has begun */
		if (watch_request(s) == 0) {
			journal_end(s);
			return true;
		}
	}
	watch_end(s);
	return false;
}

static int give_out(
	struct event_source *s, const void *data, size_t len, event_source_event event, void *ctx)
{
	Holdfast__V1__WatchResponse *m =
		msg_unpack(&holdfast__v1__watch_response__descriptor, data, len);
	int r = m ? 0
		  : fault_plain(
			    -EBADMSG, "%s: its supervisor sends what is no message", s->state.id);

	for (size_t i = 0; r == 0 && i < m->n_events; i++) {
		if (m->events[i]->sequence <= s->seq)
			continue; /* told again by a new supervisor */
		s->seq = m->events[i]->sequence;
		r = event(ctx, s, m->events[i]);
	}
	if (m)
		msg_free(m);
	return r;
}

static bool readable(const struct holdfast *h)
{
	struct pollfd p = {.fd = holdfast_fd(h), .events = POLLIN};

	return holdfast_pending(h) || poll(&p, 1, 0) > 0;
}

int event_source_take(struct event_source *s, event_source_event event, void *ctx)
{
	while (s->watch && readable(s->watch)) {
		const void *data;
		size_t len;
		int r = holdfast_next(s->watch, &data, &len);

		if (r <= 0) {
			watch_end(s); /* gone, or it refuses: the journal tells */
			return 0;
		}
		r = give_out(s, data, len, event, ctx);
		if (r < 0)
			return r;
	}
	return 0;
}
