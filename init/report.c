#include "init/report.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "init/pid1.h"
#include "init/proc.h"
#include "ipc/base/clock.h"
#include "ipc/channel.h"
#include "ipc/verbs.h"

#define RING_AGAIN (50 * USEC_PER_MSEC)

static void leave(struct pid1 *p, uint16_t verb, uint64_t tag, const void *body, size_t len,
	const int *fds, size_t nfds)
{
	if (!p->connected || channel_send(PLAN_FD_CHANNEL, verb, tag, body, len, fds, nfds) < 0)
		p->shared->dropped++;
}

void report_ring(struct pid1 *p)
{
	if (p->connected && send(p->bell[1], "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
		errno != EAGAIN) /* full: it rings still; else there is no memory for it now */
		p->due[DUE_TELL] = now_mono() + RING_AGAIN;
}

static void tell(struct pid1 *p, uint16_t verb, uint64_t tag, const void *body, size_t len,
	const int *fds, size_t nfds)
{
	leave(p, verb, tag, body, len, fds, nfds);
	report_ring(p);
}

void report_hello(struct pid1 *p)
{
	const struct init_hello hello = {.version = PLAN_VERSION, .head = p->shared->head};

	leave(p, INIT_HELLO, 0, &hello, sizeof(hello), NULL, 0);
	tell(p, INIT_BELL, 0, NULL, 0, &p->bell[0], 1);
}

void report_reply(struct pid1 *p, uint64_t tag, int err, const char *text)
{
	struct reply reply = {.err = err};

	if (err && text)
		memcpy(reply.text, text, strnlen(text, sizeof(reply.text) - 1));
	tell(p, INIT_REPLY, tag, &reply, sizeof(reply), NULL, 0);
}

void report_pipes(struct pid1 *p, const struct output_pair *pair, bool ring)
{
	const struct init_pipes pipes = {
		.run = pair->last,
		.size = pair->size,
		.reused = pair->first != pair->last,
	};

	(ring ? tell : leave)(p, INIT_PIPES, 0, &pipes, sizeof(pipes), pair->read, STREAMS);
}

void report_started(struct pid1 *p)
{
	const struct init_started started = {
		.run = p->shared->run,
		.pid = p->run.child.pid,
		.boot_usec = p->run.record.boot_start,
	};

	tell(p, INIT_STARTED, 0, &started, sizeof(started), &p->run.child.pidfd, 1);
}

void report_execed(struct pid1 *p, uint64_t tag, const struct exec_slot *s, int pidfd, bool again)
{
	const struct init_execed execed = {.id = s->id, .pid = s->pid, .again = again};

	tell(p, INIT_EXECED, tag, &execed, sizeof(execed), &pidfd, 1);
}

void report_handed(struct pid1 *p, const struct held *name, int fd)
{
	tell(p, INIT_HANDED, 0, name, sizeof(*name), &fd, 1);
}

void report_record(struct pid1 *p)
{
	const struct u64_req head = {p->shared->head};

	tell(p, INIT_RECORD, 0, &head, sizeof(head), NULL, 0);
}

void report_waiting(struct pid1 *p)
{
	const struct init_waiting waiting = {
		.run = p->shared->run,
		.left = proc_count(p),
		.since_usec = now_mono() - p->run.mono_end,
	};

	tell(p, INIT_WAITING, 0, &waiting, sizeof(waiting), NULL, 0);
}

void report_all(struct pid1 *p)
{
	report_hello(p);
	for (uint32_t i = 0; i < p->output.count; i++)
		report_pipes(p, &p->output.pairs[i], true);
	if (p->state == RUN_UP)
		report_started(p);
	if (p->shared->head > p->shared->acked)
		report_record(p);
}
