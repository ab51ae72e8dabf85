/* Commands beside the service. The client has written their plan and opened their stdio; init
 * begins them. An exec's id is its client's connection, so nothing is kept here: a successor finds
 * the client by it, and how far the exec got in the shared memory. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/mem.h"
#include "ipc/base/proc.h"
#include "shim/shim.h"

static uint32_t id_of(const struct client *c)
{
	return (uint32_t)(c->peer.id & INT32_MAX);
}

static struct client *client_of(struct shim *s, uint32_t id)
{
	struct client *c = s->clients.first;

	while (c && id_of(c) != id)
		c = c->next;
	return c;
}

static const struct exec_slot *slot_of(const struct shim *s, uint32_t id)
{
	for (unsigned i = 0; s->shared && i < EXEC_SLOTS; i++)
		if (s->shared->execs[i].id == id)
			return &s->shared->execs[i];
	return NULL;
}

/* Without init, by a predecessor: it has ended with that, or by now. */
static void begun_before(struct client *c, uint64_t tag)
{
	client_reply(c, tag, 0, "%s", "");
}

void execs_ask(struct client *c, const struct packet *p)
{
	struct shim *s = c->shim;
	struct u64_req req = {id_of(c)};
	uint64_t tag = client_ask_tag(c, p->h.tag);
	int r;

	memcpy(&c->exec, p->body, sizeof(c->exec));
	if (s->journal.now.paused)
		r = -EBUSY;
	else if (shim_has_init(s))
		r = link_init_send_fds(s, INIT_EXEC, tag, &req, sizeof(req), p->fds, p->h.nfds);
	else if (execs_known(s, id_of(c))) {
		begun_before(c, p->h.tag);
		return;
	} else
		r = exec_alone_begin(s, id_of(c), tag, p->fds);
	if (r == 0)
		client_asked(c, p->h.tag);
	else if (r == -EBUSY)
		client_reply(c, p->h.tag, r, "%s: exec: is paused (holdfast resume %s)",
			s->settings.id, s->settings.id);
	else if (r == -EAGAIN || r == -EUSERS)
		client_reply(c, p->h.tag, r, "%s: exec: %s (try again)", s->settings.id,
			r == -EUSERS ? "too many execs are under way" : "too much at once");
	else
		client_reply(c, p->h.tag, -ESRCH, "%s: the service is not running", s->settings.id);
}

/* Journalled whether or not the client is there to hear of it. */
void execs_begun(struct shim *s, const struct packet *p)
{
	struct init_execed b;
	struct rec_exec rec = {0};
	struct client_execed to;
	const struct exec_req *asked;
	struct client *c;

	memcpy(&b, p->body, sizeof(b));
	c = client_of(s, b.id);
	asked = c ? &c->exec : exec_asked(s, p->h.tag);
	rec.id = to.id = b.id;
	rec.pid = to.pid = pidfd_pid(p->fds[0]);
	if (asked) {
		rec.flags = asked->flags;
		memcpy(rec.command, asked->command, sizeof(rec.command) - 1);
	}
	if (!b.again)
		journal_append(
			&s->journal, RECORD_EXEC_STARTED, 0, s->journal.now.run, &rec, sizeof(rec));
	if (c && client_has_asked(c, p->h.tag)) {
		client_send_fd(c, CLIENT_EXECED, c->asked_tag, &to, sizeof(to), p->fds[0]);
		client_settled(c);
	}
	exec_begun(s, p->h.tag, rec.pid, p->fds[0]);
}

static void tell(struct shim *s, const struct exec_end *e)
{
	struct client *c = client_of(s, e->id);

	if (c)
		client_send(c, CLIENT_EXEC_ENDED, 0, e, sizeof(*e));
}

void execs_ended(struct shim *s, const struct exit_record *r, const struct exit_info *e)
{
	struct rec_exec_exit rec = {.exit = *e, .id = r->exec_id, .pid = r->pid};
	struct exec_end end = {
		.id = r->exec_id,
		.flags = e->flags,
		.code = e->code,
		.signal = e->signal,
		.step = e->step,
		.errnum = e->errnum,
	};

	journal_append(&s->journal, RECORD_EXEC_EXITED, 0, e->run, &rec, sizeof(rec));
	tell(s, &end);
}

bool execs_known(const struct shim *s, uint32_t id)
{
	return id && slot_of(s, id);
}

bool execs_goes_on(const struct shim *s, uint32_t id)
{
	const struct exec_slot *slot = slot_of(s, id);

	for (unsigned i = 0; !slot && s->calls.table && i < CALLS_MAX; i++)
		if (s->calls.table->calls[i].method == CALL_EXEC &&
			s->calls.table->calls[i].exec.id == id)
			return true;
	return slot && slot->pid;
}

int execs_end(const struct shim *s, uint32_t id, struct exec_end *ret)
{
	const struct exec_slot *slot = slot_of(s, id);

	if (slot && slot->pid)
		return 0;
	*ret = (struct exec_end){.id = id, .flags = EXIT_INFERRED | EXIT_UNKNOWN};
	if (slot && !slot->unseen)
		*ret = (struct exec_end){
			.id = slot->id,
			.flags = slot->step ? EXIT_START_FAILED : 0,
			.code = slot->code,
			.signal = slot->signal,
			.step = slot->step,
			.errnum = slot->errnum,
		};
	return 1;
}

/* What the ring had no room for, or what a predecessor journalled and did not live to tell. */
void execs_wait(struct client *c, const struct packet *p)
{
	struct exec_end end;

	if (!c->shim->sync_tag) /* no exit is taken before init has told everything */
		exits_read(c->shim, EXITS_ALL);
	if (execs_end(c->shim, id_of(c), &end))
		client_send(c, CLIENT_EXEC_ENDED, p->h.tag, &end, sizeof(end));
}

void execs_lost(struct shim *s)
{
	struct exec_slot *slot;

	for (unsigned i = 0; s->shared && i < EXEC_SLOTS; i++) {
		struct exit_record r = {.kind = EXIT_EXEC};
		struct exit_info e = {
			.run = s->shared->run,
			.flags = EXIT_INFERRED,
			.signal = 9,
			.count = 1,
			.boot_end = now_boot(),
			.real_end = now_real(),
		};

		slot = &s->shared->execs[i];
		if (!slot->pid || probes_exec_is(slot->id))
			continue;
		r.exec_id = slot->id;
		r.pid = slot->pid;
		e.boot_start = slot->boot_start;
		execs_ended(s, &r, &e);
		slot->pid = 0;
		slot->signal = 9;
	}
}
