/* Stop is state: first it is journalled and desired is down, then anything is signalled. With an
 * init the verb, its grace and the final kill are init's; here is only what must work when init
 * does not answer, and the whole of it for containers without one. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "ipc/base/clock.h"
#include "ipc/base/log.h"
#include "ipc/base/proc.h"
#include "shim/shim.h"

#define INIT_ANSWER_USEC USEC_PER_SEC
#define NEVER_USEC	 (3650ULL * 24 * 3600 * USEC_PER_SEC)

/* Init did not answer in time, or the grace of a service without init is over. */
static void on_stop_timer(struct loop_timer *t)
{
	struct shim *s = t->ctx;

	if (s->stop_tag)
		journal_warn(&s->journal, "init does not answer the stop: the container is killed");
	s->stop_tag = 0;
	clean_kill(s);
}

void stop_setup(struct shim *s)
{
	loop_timer_init(&s->stop_timer, &s->loop, on_stop_timer, s);
}

static void defaults(const struct shim *s, struct stop_req *req)
{
	if (!req->signo)
		req->signo = s->settings.stop_signal ? s->settings.stop_signal : SIGTERM;
	if (!req->has_grace)
		req->grace_usec = s->settings.stop_grace_usec;
	req->has_grace = 1;
}

bool stop_was_asked(const struct shim *s, struct stop_req req)
{
	const struct history *h = &s->journal.now;

	defaults(s, &req);
	return h->stopping && s->phase != PHASE_NEW && h->stop.signo == req.signo &&
	       h->stop.grace_usec == req.grace_usec;
}

static struct stop_req stop_by(uint32_t signo)
{
	return (struct stop_req){
		.signo = signo, .has_grace = 1, .grace_usec = signo == SIGKILL ? 0 : NEVER_USEC};
}

bool stop_signal_was_asked(const struct shim *s, uint32_t signo)
{
	return stop_means(s, signo) && stop_was_asked(s, stop_by(signo));
}

void stop_begin(struct shim *s, struct stop_req req, uint16_t why)
{
	struct rec_stop rec = {.what = why};

	overload_undo(s);
	pause_thaw(s);
	health_stopping(s);
	defaults(s, &req);
	rec.signo = req.signo;
	rec.grace_usec = req.grace_usec;
	s->stop = req;
	journal_append(&s->journal, RECORD_STOP_INTENT, 0, s->journal.now.run, &rec, sizeof(rec));
	if (s->shared && (!shim_has_init(s) || s->init.fd < 0))
		s->shared->policy.down = 1; /* nobody else would */
	shim_event(s, LIFE_ON_STOP);
}

static void stop_without_init(struct shim *s)
{
	int r = s->init_pidfd.fd >= 0 ? pidfd_kill(s->init_pidfd.fd, (int)s->stop.signo) : -ESRCH;

	if (s->shared)
		s->shared->policy.down = 1;
	if (r < 0 && r != -ESRCH)
		log_warn("stop: signal %u: %s", s->stop.signo, strerror(-r));
	if (s->stop.signo == SIGKILL || s->stop.grace_usec < NEVER_USEC)
		loop_timer_set(&s->stop_timer, s->stop.signo == SIGKILL ? 0 : s->stop.grace_usec);
}

void restart_note(struct shim *s, struct stop_req req)
{
	struct rec_stop rec = {.what = CLIENT_RESTART};

	if (s->phase != PHASE_RUNNING || s->journal.now.restarting)
		return;
	defaults(s, &req);
	rec.signo = req.signo;
	rec.grace_usec = req.grace_usec;
	journal_append(&s->journal, RECORD_STOP_INTENT, 0, s->journal.now.run, &rec, sizeof(rec));
}

/* As a stop, only that nothing is told to stay down. What follows is a fresh start: there is nobody
 * inside who could make one in place. */
void restart_without_init(struct shim *s, struct stop_req req)
{
	struct rec_stop rec = {.what = CLIENT_RESTART};
	int r;

	defaults(s, &req);
	rec.signo = req.signo;
	rec.grace_usec = req.grace_usec;
	if (!s->journal.now.restarting)
		journal_append(
			&s->journal, RECORD_STOP_INTENT, 0, s->journal.now.run, &rec, sizeof(rec));
	r = s->init_pidfd.fd >= 0 ? pidfd_kill(s->init_pidfd.fd, (int)req.signo) : -ESRCH;
	if (r < 0 && r != -ESRCH)
		log_warn("restart: signal %u: %s", req.signo, strerror(-r));
	loop_timer_set(&s->stop_timer, req.signo == SIGKILL ? 0 : req.grace_usec);
}

void stop_pass_on(struct shim *s)
{

	if (!shim_has_init(s)) {
		stop_without_init(s);
		return;
	}
	s->stop_tag = now_boot();
	link_init_send(s, INIT_STOP, s->stop_tag, &s->stop, sizeof(s->stop));
	loop_timer_set(&s->stop_timer, INIT_ANSWER_USEC);
}

bool stop_means(const struct shim *s, uint32_t signo)
{
	uint32_t stop = s->settings.stop_signal ? s->settings.stop_signal : SIGTERM;

	return signo == SIGKILL || signo == stop;
}

int stop_signal(struct shim *s, struct signal_req req, uint64_t tag)
{
	int r;

	if (req.signo == 0 || req.signo > 64)
		return -EINVAL;
	if (stop_means(s, req.signo)) {
		stop_begin(s, stop_by(req.signo), CLIENT_SIGNAL);
		return 0;
	}
	if (s->phase != PHASE_RUNNING && s->phase != PHASE_STOPPING)
		return -ESRCH;
	pause_thaw(s);
	if (!shim_has_init(s))
		return pidfd_kill(s->init_pidfd.fd, (int)req.signo);
	r = link_init_send(s, INIT_SIGNAL, tag, &req, sizeof(req));
	return r < 0 ? r : STOP_ASKED;
}
