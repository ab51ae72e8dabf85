/* What the tool's clients have asked of init. A signal or a restart stays in its client's socket
 * until init has answered, and a successor asks again, under the same tag, which init knows for as
 * long as there were not ONCE_SLOTS newer ones. So no more than a few are on their way, and which
 * ones stands in the table of calls: a successor asks those again before anything new. The rest of
 * init's memory is for the API, rules and health. */
#include "ipc/channel.h"
#include "shim/shim.h"

#define API_ASKS   (ONCE_SLOTS / 2)
#define OTHER_ASKS 2u

_Static_assert(CALLS_ASKED + API_ASKS + OTHER_ASKS <= ONCE_SLOTS, "init remembers them all");

static bool heads(const struct client *c, uint64_t asked)
{
	struct packet p;
	bool same;

	if (channel_peek(c->io.fd, &p) <= 0)
		return false;
	same = client_ask_tag(c, p.h.tag) == asked;
	packet_finish(&p);
	return same;
}

/* Not any more once its request is off the socket, which a predecessor may have died over, or its
 * client has gone. */
static bool goes_on(const struct shim *s, uint64_t asked)
{
	for (const struct client *c = s->clients.first; c; c = c->next)
		if (c->asked == asked || (!c->asked && heads(c, asked)))
			return true;
	return false;
}

bool asks_begin(struct shim *s, uint64_t asked)
{
	uint64_t *slots = s->calls.table ? s->calls.table->asked : NULL;

	for (unsigned i = 0; slots && i < CALLS_ASKED; i++)
		if (slots[i] == asked)
			return true;
	for (unsigned i = 0; slots && i < CALLS_ASKED; i++) {
		if (slots[i] && goes_on(s, slots[i]))
			continue;
		__atomic_store_n(&slots[i], asked, __ATOMIC_RELEASE);
		return true;
	}
	return !slots;
}

void asks_end(struct shim *s, uint64_t asked)
{
	for (unsigned i = 0; s->calls.table && i < CALLS_ASKED; i++)
		if (s->calls.table->asked[i] == asked)
			s->calls.table->asked[i] = 0;
}
