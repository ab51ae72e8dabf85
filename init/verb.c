#include "init/verb.h"

#include <errno.h>
#include <stdbool.h>

#include "init/behind.h"
#include "init/door.h"
#include "init/execs.h"
#include "init/kept.h"
#include "init/pid1.h"
#include "init/relay.h"
#include "init/report.h"
#include "init/ring.h"
#include "init/sys.h"
#include "ipc/channel.h"
#include "ipc/exec_plan.h"
#include "ipc/verbs.h"

/* The body has the size that the table says; alignment is the packet's. */
union request {
	struct signal_req signal;
	struct stop_req stop;
	struct u32_req u32;
	struct u64_req u64;
	struct ack_req ack;
	struct store_req store;
	struct policy_conf policy;
	struct held held;
};

struct packet verb_packet BEHIND; /* 8 KiB: not on PID 1's stack, and only its head is touched */

static int on_start(struct pid1 *p, const union request *q)
{
	if (p->shared->policy.down)
		return -ECANCELED;
	if (p->begun && p->state != RUN_DELAY)
		return -EALREADY;
	p->begun = true;
	if (p->state == RUN_DELAY)
		p->shared->hold = 0;
	run_release(p);
	return 0;
}

/* SIGKILL and the stop signal mean "down", whoever carries them: no policy answers them. */
static int on_signal(struct pid1 *p, const union request *q)
{
	uint32_t signo = q->signal.signo;
	int r;

	if (signo > SIGNALS)
		return -EINVAL;
	if (signo == SIGKILL || signo == p->plan.stop_signal)
		run_want_down(p);
	if (q->signal.flags & SIGNAL_TO_ALL)
		r = relay_everybody(p, (int)signo);
	else
		r = relay_service(p, (int)signo);
	return r == -ESRCH && p->shared->policy.down ? 0 : r;
}

static uint64_t grace(const struct pid1 *p, const struct stop_req *stop)
{
	return stop->has_grace ? stop->grace_usec : p->plan.stop_grace_usec;
}

static int on_stop(struct pid1 *p, const union request *q)
{
	if (q->stop.signo > SIGNALS)
		return -EINVAL;
	if (q->stop.has_grace & STOP_EXTEND)
		run_extend(p, q->stop.grace_usec);
	else
		run_stop(p, (int)q->stop.signo, grace(p, &q->stop));
	return 0;
}

static int on_restart(struct pid1 *p, const union request *q)
{
	bool by_policy = q->stop.has_grace & STOP_BY_POLICY;

	if (q->stop.signo > SIGNALS)
		return -EINVAL;
	if (by_policy && (q->stop.has_grace ^ STOP_RUN(p->shared->run)) & STOP_RUN(~0u))
		return -ECANCELED;
	return run_restart(p, (int)q->stop.signo, grace(p, &q->stop), by_policy);
}

static int on_hold(struct pid1 *p, const union request *q)
{
	p->shared->hold = q->u32.value != 0;
	if (p->shared->hold)
		p->due[DUE_START] = 0;
	else
		run_release(p);
	return 0;
}

static int on_ack(struct pid1 *p, const union request *q)
{
	uint32_t count = verb_packet.h.len >= sizeof(q->ack) ? q->ack.count : 0;

	if (ring_ack(p->shared, PLAN_FD_SHARED, q->ack.value, count))
		report_record(p);
	return 0;
}

static int on_drained(struct pid1 *p, const union request *q)
{
	output_drained(&p->output, q->u32.value, p->run.child.pid ? p->shared->run : 0);
	return 0;
}

static int on_sync(struct pid1 *p, const union request *q)
{
	report_all(p);
	return 0;
}

static int on_ready(struct pid1 *p, const union request *q)
{
	p->run.ready = p->run.child.pid != 0;
	return 0;
}

static int on_unstore(struct pid1 *p, const union request *q)
{
	kept_drop(&p->kept, q->u64.value);
	return 0;
}

/* Takes over fd. */
static int on_store(struct pid1 *p, const union request *q, int fd)
{
	return fd < 0 ? -EBADMSG : kept_put(&p->kept, q->store.key, fd, q->store.name);
}

/* The next decision is taken by it; a delay that runs already is left as it is. */
static int on_policy(struct pid1 *p, const union request *q)
{
	p->plan.policy = q->policy;
	return 0;
}

/* Takes over fd. */
static int on_keep(struct pid1 *p, const union request *q, int fd)
{
	if (fd >= 0)
		door_keep(&p->door, &q->held, fd);
	return 0;
}

static int on_unkeep(struct pid1 *p, const union request *q)
{
	door_unkeep(&p->door, &q->held);
	return 0;
}

static int on_hand(struct pid1 *p, const union request *q)
{
	struct held name;
	int fd = door_nth(p, q->u32.value, &name);

	if (fd < 0)
		report_reply(p, 0, -ENOENT, NULL);
	else
		report_handed(p, &name, fd);
	return 0;
}

static int on_spooled(struct pid1 *p, const union request *q)
{
	spool_reset(p);
	return 0;
}

static const struct {
	uint16_t verb;
	uint16_t size;
	bool answered;
	int (*handle)(struct pid1 *p, const union request *q);
	int (*handle_fd)(struct pid1 *p, const union request *q, int fd); /* instead */
} table[] = {
	{INIT_START, 0, true, on_start, NULL},
	{INIT_SIGNAL, sizeof(struct signal_req), true, on_signal, NULL},
	{INIT_STOP, sizeof(struct stop_req), true, on_stop, NULL},
	{INIT_RESTART, sizeof(struct stop_req), true, on_restart, NULL},
	{INIT_HOLD, sizeof(struct u32_req), true, on_hold, NULL},
	{INIT_ACK, sizeof(struct u64_req), false, on_ack, NULL},
	{INIT_DRAINED, sizeof(struct u32_req), false, on_drained, NULL},
	{INIT_SYNC, 0, true, on_sync, NULL},
	{INIT_READY, 0, false, on_ready, NULL},
	{INIT_STORE, sizeof(struct store_req), true, NULL, on_store},
	{INIT_UNSTORE, sizeof(struct u64_req), true, on_unstore, NULL},
	{INIT_POLICY, sizeof(struct policy_conf), true, on_policy, NULL},
	{INIT_KEEP, sizeof(struct held), false, NULL, on_keep},
	{INIT_UNKEEP, sizeof(struct held), false, on_unkeep, NULL},
	{INIT_HAND, sizeof(struct u32_req), false, on_hand, NULL},
	{INIT_SPOOLED, 0, false, on_spooled, NULL},
};

/* What was done for this request before; NULL: nothing. */
static const struct once *done_before(const struct pid1 *p, uint64_t tag)
{
	for (unsigned i = 0; (tag & ONCE_TAG) && i < ONCE_SLOTS; i++)
		if (p->shared->once[i].tag == tag)
			return &p->shared->once[i];
	return NULL;
}

static void note_done(struct pid1 *p, uint64_t tag, int err)
{
	if (tag & ONCE_TAG)
		p->shared->once[p->shared->once_next++ % ONCE_SLOTS] =
			(struct once){.tag = tag, .err = err};
}

static const char *explain(int err)
{
	switch (err) {
	case -ENOSYS:
		return "init does not know this verb: it is older than the supervisor";
	case -EBADMSG:
		return "the request is too short for its verb";
	case -EINVAL:
		return "no such signal: use 1 to 64";
	case -ESRCH:
		return "the service is not running";
	case -ECANCELED:
		return "the container was told to stop";
	case -EALREADY:
		return "the service was started before";
	case -ENOSPC:
		return "too many descriptors are stored";
	case -EUSERS:
		return "too many execs are under way";
	case -EPERM:
		return "not in a pid namespace of its own: a signal to all could hit others";
	default:
		return "the kernel refused";
	}
}

static int handle(struct pid1 *p, size_t i, struct packet *q)
{
	if (table[i].handle)
		return table[i].handle(p, (const void *)q->body);
	return table[i].handle_fd(p, (const void *)q->body, packet_take_fd(q, 0));
}

/* It has more descriptors than one, an answer of its own, and remembers by itself what was begun.
 */
static void take_exec(struct pid1 *p, struct packet *q)
{
	int r = q->h.len >= sizeof(struct u64_req) && q->h.nfds == EXEC_FDS ? execs_start(p, q)
									    : -EBADMSG;

	if (r < 0)
		report_reply(p, q->h.tag, r, explain(r));
}

static void take(struct pid1 *p, struct packet *q)
{
	if (q->h.verb == INIT_EXEC) {
		take_exec(p, q);
		return;
	}
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct once *before = done_before(p, q->h.tag);
		int r = -EBADMSG;

		if (table[i].verb != q->h.verb)
			continue;
		if (before) {
			r = before->err;
		} else if (q->h.len >= table[i].size) {
			r = handle(p, i, q);
			note_done(p, q->h.tag, r);
		}
		if (table[i].answered || r == -EBADMSG)
			report_reply(p, q->h.tag, r, explain(r));
		return;
	}
	report_reply(p, q->h.tag, -ENOSYS, explain(-ENOSYS));
}

void verb_turn(struct pid1 *p)
{
	int r;

	while ((r = channel_recv(PLAN_FD_CHANNEL, &verb_packet, 1)) == 1 || r == -EBADMSG) {
		if (r == 1)
			take(p, &verb_packet);
		packet_finish(&verb_packet);
	}
	if (r == -EAGAIN)
		return;
	/* All supervisors are gone. With a run begun PID 1 goes on alone, for ever if need be. */
	p->connected = false;
	p->quit = !p->begun;
	spool_begin(p);
	run_orphaned(p);
}
