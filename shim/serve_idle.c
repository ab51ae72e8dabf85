/* The API while nobody asks for anything: all that is resident of it in most containers. */
#include <unistd.h>

#include "shim/shim.h"

static void on_stats_due(struct loop_timer *t)
{
	struct shim *s = t->ctx;

	s->serve.stats_due = 0;
	serve_changed(s);
}

void serve_setup(struct shim *s)
{
	s->calls.fd = -1;
	loop_timer_init(&s->serve.push_timer, &s->loop, serve_push, s);
	loop_timer_init(&s->serve.follow_timer, &s->loop, serve_push, s);
	loop_timer_init(&s->serve.late_timer, &s->loop, serve_late, s);
	loop_timer_init(&s->serve.stats_timer, &s->loop, on_stats_due, s);
	exec_io_setup(s);
}

int serve_open(struct shim *s, int calls_fd)
{
	const struct held name = {.kind = HELD_CALLS};
	bool inherited;
	int r;

	if (s->calls.table) {
		close(calls_fd);
		return 0;
	}
	r = calls_open(&s->calls, calls_fd, &inherited);
	if (r == 0 && !inherited)
		r = link_keeper_send(s, KEEPER_HOLD, &name, sizeof(name), s->calls.fd);
	return r;
}

void serve_changed(struct shim *s)
{
	if (s->serve.first)
		loop_timer_set(&s->serve.push_timer, 0);
}

static bool behind(const struct shim *s, const struct call *call)
{
	switch (call->method) {
	case CALL_LOGS:
	case CALL_ATTACH:
	case CALL_WAIT:
		return true;
	case CALL_WATCH:
		return call->seq < s->journal.now.seq;
	default:
		return false;
	}
}

bool serve_behind(const struct shim *s)
{
	for (unsigned i = 0; s->calls.table && i < CALLS_MAX; i++) {
		const struct call *call = &s->calls.table->calls[i];

		if (!call->conn || !behind(s, call))
			continue;
		for (const struct conn *c = s->serve.first; c; c = c->next)
			if (c->peer.id == call->conn && !c->doomed)
				return true;
	}
	return false;
}
