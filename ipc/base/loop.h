/* The event loop: libev on epoll, never libev's default loop (which would reap everybody's
 * children). A watcher is stopped before its descriptor closes: struct loop_io owns both. */
#pragma once

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

struct loop {
	struct ev_loop *ev;
	struct ev_prepare before_wait;
	struct ev_check after_wait;
	struct ev_timer rest; /* runs while the guard is armed */
	void *hang_timer;     /* timer_t: valid when hang_usec is set */
	uint64_t hang_usec;
	bool armed;
	volatile bool waiting; /* read by a signal handler of the same thread */
};

struct loop_io {
	struct ev_io w;
	struct loop *loop;
	int fd; /* owned; -1 after loop_io_finish */
	void (*ready)(struct loop_io *io);
	void *ctx;
};

struct loop_timer {
	struct ev_timer w;
	struct loop *loop;
	void (*fired)(struct loop_timer *t);
	void *ctx;
};

int loop_init(struct loop *loop); /* 0 or a fault */
void loop_finish(struct loop *loop);
void loop_run(struct loop *loop); /* until loop_stop */
void loop_stop(struct loop *loop);

/* From now on SIGABRT to this process when one turn of the loop takes longer than usec, at 1.5
 * times usec at the latest: a stuck process is better dead and revived than silent. It costs no
 * system call a turn: the timer stays armed while turns follow each other, put off every usec / 2;
 * an idle loop disarms it then, and nothing runs. The caller's other threads block SIGABRT. 0 or a
 * fault. */
int loop_guard(struct loop *loop, uint64_t usec);
void loop_unguard(struct loop *loop);

/* Takes over fd; `ready` is called while it can be read (or its peer is gone). */
void loop_io_start(struct loop_io *io, struct loop *loop, int fd, void (*ready)(struct loop_io *io),
	void *ctx);
void loop_io_want(struct loop_io *io, bool read, bool write);
/* Stops and closes; fine on a zero object or twice. */
void loop_io_finish(struct loop_io *io);

void loop_timer_init(
	struct loop_timer *t, struct loop *loop, void (*fired)(struct loop_timer *t), void *ctx);
void loop_timer_set(
	struct loop_timer *t, uint64_t usec); /* once, from now; replaces an earlier one */
void loop_timer_cancel(struct loop_timer *t);
