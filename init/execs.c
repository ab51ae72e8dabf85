#include "init/execs.h"

#include <string.h>

#include "init/pid1.h"
#include "init/report.h"
#include "init/ring.h"
#include "init/sys.h"
#include "ipc/base/clock.h"
#include "ipc/channel.h"
#include "ipc/exec_plan.h"
#include "ipc/verbs.h"

static struct exec_slot *by_id(struct pid1 *p, uint32_t id)
{
	for (unsigned i = 0; i < EXEC_SLOTS; i++)
		if (p->shared->execs[i].id == id)
			return &p->shared->execs[i];
	return NULL;
}

static struct exec_slot *by_pid(struct pid1 *p, int32_t pid)
{
	for (unsigned i = 0; i < EXEC_SLOTS; i++)
		if (p->shared->execs[i].pid == pid)
			return &p->shared->execs[i];
	return NULL;
}

static unsigned alive(const struct pid1 *p)
{
	unsigned n = 0;

	for (unsigned i = 0; i < EXEC_SLOTS; i++)
		n += p->shared->execs[i].pid != 0;
	return n;
}

/* Round and round, so that those that have just ended are remembered longest. */
static struct exec_slot *free_slot(struct pid1 *p)
{
	struct exec_slot *s;

	do
		s = &p->shared->execs[p->shared->exec_next++ % EXEC_SLOTS];
	while (s->pid);
	return s;
}

/* Each has its place in the ring kept free: its end will be told whatever the supervisor does. */
static bool room(const struct pid1 *p)
{
	unsigned n = alive(p);

	return n < EXEC_MAX && p->shared->head - p->shared->acked + n < EXIT_SLOTS - 4;
}

int execs_start(struct pid1 *p, struct packet *q)
{
	const struct u64_req *req = (const void *)q->body;
	uint32_t id = (uint32_t)req->value;
	struct exec_slot *s = by_id(p, id);
	int pidfd = -1, r;

	if (s) {
		/* not reaped, or pid is 0: it can't be another's */
		pidfd = s->pid ? sys_result(syscall(SYS_pidfd_open, s->pid, 0)) : -ESRCH;
		if (pidfd >= 0)
			report_execed(p, q->h.tag, s, pidfd, true);
		else
			report_reply(p, q->h.tag, 0, NULL);
		close(pidfd);
		return 0;
	}
	if (p->state != RUN_STARTING && p->state != RUN_UP)
		return -ESRCH;
	if (!room(p))
		return -EUSERS;
	s = free_slot(p);
	*s = (struct exec_slot){.id = id, .boot_start = now_boot()};
	r = spawn_exec(&p->plan, q->fds, s, &pidfd);
	if (r < 0) {
		s->id = 0;
		return r;
	}
	s->pid = r;
	report_execed(p, q->h.tag, s, pidfd, false);
	close(pidfd);
	return 0;
}

bool execs_ended(struct pid1 *p, const siginfo_t *info, const struct rusage *ru)
{
	struct exec_slot *s = by_pid(p, info->si_pid);
	struct exit_record rec = {.kind = EXIT_EXEC, .run = p->shared->run, .boot_end = now_boot()};

	if (!s)
		return false;
	rec.pid = s->pid;
	rec.exec_id = s->id;
	rec.boot_start = s->boot_start;
	run_note_status(&rec, info, ru);
	if (s->step)
		run_note_failure(&rec, &(struct spawn_failure){s->step, s->errnum});
	s->code = (uint8_t)rec.code;
	s->signal = (uint8_t)rec.signal;
	/* A crash loop beside us may have filled it: then the slot alone knows. Who looks at the
	 * slot first finds the record as well. */
	if (!ring_full(p->shared))
		ring_write(p->shared, PLAN_FD_SHARED, &rec);
	s->pid = 0;
	report_record(p);
	return true;
}
