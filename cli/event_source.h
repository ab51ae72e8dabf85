/* The events of one container: from its journal, which is there whoever is alive, and, to follow
 * them, from its supervisor for as long as there is one. Each comes once, in order. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cli/state.h"
#include "ipc/event_msg.h"
#include "ipc/journal_reader.h"
#include "ipc/lib/holdfast.h"

struct event_source {
	struct state state;
	uint64_t instance;
	uint64_t seq; /* the newest that was given out */
	struct journal_reader journal;
	bool have_journal;
	bool unreadable;       /* the caller's note of a fault */
	struct event_msg head; /* the journal's next, for merging */
	bool have_head;
	uint64_t gap_seq, gap_missed; /* a gap that was given out and not shown yet; 0: none */
	struct holdfast *watch;	      /* NULL: nobody supervises it, or nobody was asked yet */
};

/* Takes over the state directory. seq: the caller has those up to it. */
int event_source_open(struct event_source *s, struct state *state);
void event_source_close(struct event_source *s);

/* Of which container: its time of creation. 0: it can't be told. */
uint64_t event_source_instance(const struct state *state);

/* The journal's next event: 1 and s->head, 0: at its end, or a fault. event_source_taken() it. */
int event_source_peek(struct event_source *s);
void event_source_taken(struct event_source *s);

/* Called for each event that comes; < 0 ends the reading, and is what event_source_take() gives. */
typedef int (*event_source_event)(void *ctx, struct event_source *s, const Holdfast__V1__Event *e);

/* Asks the supervisor for what is behind s->seq: true, and s->watch is to be polled. */
bool event_source_watch(struct event_source *s);

/* Takes what the supervisor has sent. 0, or a fault: s->watch is gone then, and the journal goes
 * on. */
int event_source_take(struct event_source *s, event_source_event event, void *ctx);
