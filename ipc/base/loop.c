#include "ipc/base/loop.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"

static void guard_set(struct loop *loop, uint64_t usec)
{
	struct itimerspec at = {
		.it_value.tv_sec = (time_t)(usec / USEC_PER_SEC),
		.it_value.tv_nsec = (long)(usec % USEC_PER_SEC * 1000),
	};

	timer_settime((timer_t)loop->hang_timer, 0, &at, NULL);
}

/* A turn that begins just before the rest is over has all of hang_usec still. */
static void guard_arm(struct loop *loop)
{
	guard_set(loop, loop->hang_usec + loop->hang_usec / 2);
	ev_timer_set(&loop->rest, (double)loop->hang_usec / 2e6, 0.);
	ev_timer_start(loop->ev, &loop->rest);
	ev_unref(loop->ev); /* it does not keep the loop alive */
	loop->armed = true;
}

static void guard_disarm(struct loop *loop)
{
	guard_set(loop, 0);
	loop->armed = false;
}

static void on_rest(struct ev_loop *ev, struct ev_timer *w, int events)
{
	struct loop *loop = w->data;

	ev_ref(ev);
	if (ev_pending_count(ev) > 0) /* this turn has more to do */
		guard_arm(loop);
	else
		guard_disarm(loop);
}

static void on_before_wait(struct ev_loop *ev, struct ev_prepare *w, int events)
{
	struct loop *loop = w->data;

	loop->waiting = true;
}

static void on_after_wait(struct ev_loop *ev, struct ev_check *w, int events)
{
	struct loop *loop = w->data;

	loop->waiting = false;
	if (!loop->armed && ev_pending_count(ev) > 0)
		guard_arm(loop);
}

/* Stopped, or starved of its CPU, while it waited: it does not hang. */
static void on_hang(int sig, siginfo_t *info, void *context)
{
	const struct loop *loop = info->si_code == SI_TIMER ? info->si_value.sival_ptr : NULL;

	if (loop && loop->waiting)
		return;
	signal(sig, SIG_DFL);
	raise(sig); /* on return from here: a core dump shows where it hung */
}

int loop_init(struct loop *loop)
{
	memset(loop, 0, sizeof(*loop));
	loop->ev = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	return loop->ev ? 0 : fault(-ENOMEM, "event loop");
}

void loop_finish(struct loop *loop)
{
	if (loop->hang_usec)
		timer_delete((timer_t)loop->hang_timer);
	if (loop->ev)
		ev_loop_destroy(loop->ev);
	memset(loop, 0, sizeof(*loop));
}

void loop_run(struct loop *loop)
{
	ev_run(loop->ev, 0);
}

void loop_stop(struct loop *loop)
{
	ev_break(loop->ev, EVBREAK_ALL);
}

int loop_guard(struct loop *loop, uint64_t usec)
{
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL,
		.sigev_signo = SIGABRT,
		.sigev_value.sival_ptr = loop};
	struct sigaction act = {.sa_sigaction = on_hang, .sa_flags = SA_SIGINFO | SA_RESTART};
	timer_t timer;

	if (timer_create(CLOCK_MONOTONIC, &ev, &timer) < 0)
		return fault(-errno, "timer_create");
	sigaction(SIGABRT, &act, NULL);
	loop->hang_timer = (void *)timer;
	loop->hang_usec = usec;
	ev_prepare_init(&loop->before_wait, on_before_wait);
	ev_check_init(&loop->after_wait, on_after_wait);
	ev_timer_init(&loop->rest, on_rest, 0., 0.);
	loop->before_wait.data = loop->after_wait.data = loop->rest.data = loop;
	ev_prepare_start(loop->ev, &loop->before_wait);
	ev_check_start(loop->ev, &loop->after_wait);
	ev_unref(loop->ev); /* neither keeps the loop alive */
	ev_unref(loop->ev);
	return 0;
}

void loop_unguard(struct loop *loop)
{
	if (!loop->hang_usec)
		return;
	ev_ref(loop->ev);
	ev_ref(loop->ev);
	ev_prepare_stop(loop->ev, &loop->before_wait);
	ev_check_stop(loop->ev, &loop->after_wait);
	if (ev_is_active(&loop->rest)) {
		ev_ref(loop->ev);
		ev_timer_stop(loop->ev, &loop->rest);
	}
	timer_delete((timer_t)loop->hang_timer);
	signal(SIGABRT, SIG_DFL);
	loop->armed = false;
	loop->hang_usec = 0;
}

static void on_io(struct ev_loop *ev, struct ev_io *w, int events)
{
	struct loop_io *io = w->data;

	io->ready(io);
}

void loop_io_start(
	struct loop_io *io, struct loop *loop, int fd, void (*ready)(struct loop_io *io), void *ctx)
{
	io->loop = loop;
	io->fd = fd;
	io->ready = ready;
	io->ctx = ctx;
	ev_io_init(&io->w, on_io, fd, EV_READ);
	io->w.data = io;
	ev_io_start(loop->ev, &io->w);
}

void loop_io_want(struct loop_io *io, bool rd, bool wr)
{
	int events = (rd ? EV_READ : 0) | (wr ? EV_WRITE : 0);

	ev_io_stop(io->loop->ev, &io->w);
	ev_io_set(&io->w, io->fd, events);
	if (events)
		ev_io_start(io->loop->ev, &io->w);
}

void loop_io_finish(struct loop_io *io)
{
	if (!io->loop || io->fd < 0)
		return;
	ev_io_stop(io->loop->ev, &io->w);
	close(io->fd);
	io->fd = -1;
}

static void on_timer(struct ev_loop *ev, struct ev_timer *w, int events)
{
	struct loop_timer *t = w->data;

	t->fired(t);
}

void loop_timer_init(
	struct loop_timer *t, struct loop *loop, void (*fired)(struct loop_timer *t), void *ctx)
{
	t->loop = loop;
	t->fired = fired;
	t->ctx = ctx;
	ev_timer_init(&t->w, on_timer, 0., 0.);
	ev_set_priority(&t->w, -1); /* what came in time is looked at before the time is over */
	t->w.data = t;
}

void loop_timer_set(struct loop_timer *t, uint64_t usec)
{
	ev_timer_stop(t->loop->ev, &t->w);
	ev_now_update(t->loop->ev); /* "from now", not from when this turn began */
	ev_timer_set(&t->w, (double)usec / 1e6, 0.);
	ev_timer_start(t->loop->ev, &t->w);
}

void loop_timer_cancel(struct loop_timer *t)
{
	if (t->loop)
		ev_timer_stop(t->loop->ev, &t->w);
}
