#include "shim/pump.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"

#define PUMP_STACK	(64u << 10)
#define FULL_RETRY_MSEC 200 /* a full disk does not tell when it has room again */
#define EXACT_WAIT_USEC (2 * USEC_PER_MSEC)
/* A stream in full flow: what has come in between is worth one splice more than each page is. Below
 * the first number it is no flow, above the second the writer is about to wait for us. */
#define FLOW_MIN      (32u << 10)
#define FLOW_MAX      (512u << 10)
#define FLOW_MSEC     1
#define TTY_WAIT_USEC (50 * USEC_PER_MSEC)

static void signal_event(int fd)
{
	uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) < 0)
		return; /* EAGAIN: it is signalled already */
}

/* The thread ------------------------------------------------------------------------------------
 */

static bool head_of(struct pump *p, struct pump_stream *s, struct pump_run *ret)
{
	bool any;

	pthread_mutex_lock(&p->lock);
	any = s->len > 0 && !p->paused;
	if (any)
		*ret = s->runs[0];
	pthread_mutex_unlock(&p->lock);
	return any;
}

static void run_close(struct pump_run *r)
{
	fd_close(&r->fd);
	fd_close(&r->tty);
	fd_close(&r->tty_in);
}

static void run_drained(struct pump *p, struct pump_stream *s, const struct pump_run *r)
{
	struct pump_run done;

	pthread_mutex_lock(&p->lock);
	if (s->runs[0].run != r->run) { /* a later run writes to it now */
		pthread_mutex_unlock(&p->lock);
		return;
	}
	done = s->runs[0];
	s->len--;
	memmove(&s->runs[0], &s->runs[1], s->len * sizeof(s->runs[0]));
	s->freed[s->freed_len++] = done.key; /* has room: pump_add() sees to it */
	s->drained = done.run;
	pthread_mutex_unlock(&p->lock);
	run_close(&done);
	signal_event(p->notice.fd);
}

static void set_busy(struct pump *p, struct pump_stream *s, bool busy)
{
	pthread_mutex_lock(&p->lock);
	s->busy = busy;
	s->offset = s->sink.offset;
	pthread_mutex_unlock(&p->lock);
}

/* The log takes no more: what the pipe holds goes nowhere, counted. */
static bool drop(struct pump *p, struct pump_stream *s, const struct pump_run *r, int err)
{
	auto_fd null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	ssize_t n = splice(r->fd, NULL, null, NULL, 1u << 20, SPLICE_F_NONBLOCK);

	if (n <= 0)
		return false;
	sink_gap(&s->sink, (uint64_t)n, r->run);
	pthread_mutex_lock(&p->lock);
	s->dropped += (uint64_t)n;
	s->err = err;
	pthread_mutex_unlock(&p->lock);
	signal_event(p->notice.fd);
	return true;
}

/* From the terminal into the pipe that outlives us; a splice from there straight into a file is
 * EINVAL. */
static int64_t feed_from_tty(const struct pump_run *r)
{
	ssize_t n = splice(r->tty, NULL, r->tty_in, NULL, 65536, SPLICE_F_NONBLOCK);

	return n < 0 ? -errno : n;
}

enum turn { TURN_MOVED, TURN_FLOWS, TURN_EMPTY, TURN_FULL };

static enum turn turn(struct pump *p, struct pump_stream *s, const struct pump_run *r)
{
	int64_t n, fed = 0;

	set_busy(p, s, true);
	if (r->tty >= 0)
		fed = feed_from_tty(r);
	n = sink_splice(&s->sink, r->fd, r->run);
	set_busy(p, s, false);
	if (n >= FLOW_MIN && n < FLOW_MAX && !r->dead)
		return TURN_FLOWS;
	if (n > 0 || fed > 0)
		return TURN_MOVED;
	if (n == 0 || (n == -EAGAIN && r->dead)) {
		run_drained(p, s, r);
		return TURN_MOVED;
	}
	/* A terminal that nobody has open at the moment answers EIO and polls as hung up: look
	 * again later rather than at once. */
	if (n == -EAGAIN)
		return fed < 0 && fed != -EAGAIN ? TURN_FULL : TURN_EMPTY;
	if (p->block_when_full)
		return TURN_FULL;
	return drop(p, s, r, (int)n) ? TURN_MOVED : TURN_FULL;
}

static void *pump_main(void *arg)
{
	struct pump *p = arg;

	for (;;) {
		struct pollfd fds[1 + 2 * LOG_STREAMS] = {{.fd = p->wake, .events = POLLIN}};
		int timeout = -1;
		nfds_t n = 1;
		uint64_t count;

		for (int i = 0; i < LOG_STREAMS; i++) {
			struct pump_stream *s = &p->streams[i];
			enum turn t = TURN_EMPTY;
			struct pump_run r;

			if (!head_of(p, s, &r))
				continue;
			t = turn(p, s, &r);
			if (t == TURN_MOVED)
				timeout = 0;
			else if (t == TURN_FLOWS)
				timeout = timeout ? FLOW_MSEC : 0;
			else if (t == TURN_FULL)
				timeout = timeout < 0 ? FULL_RETRY_MSEC : timeout;
			else
				fds[n++] = (struct pollfd){
					.fd = r.tty >= 0 ? r.tty : r.fd, .events = POLLIN};
		}
		if (poll(fds, n, timeout) > 0 && fds[0].revents &&
			read(p->wake, &count, sizeof(count)) < 0)
			continue;
		pthread_mutex_lock(&p->lock);
		count = p->stop;
		pthread_mutex_unlock(&p->lock);
		if (count)
			return NULL;
	}
}

/* The owner -------------------------------------------------------------------------------------
 */

static void on_notice(struct loop_io *io)
{
	struct pump *p = io->ctx;
	uint64_t count;

	if (read(io->fd, &count, sizeof(count)) > 0)
		p->changed(p, p->ctx);
}

static int spawn_thread(struct pump *p)
{
	pthread_attr_t attr;
	sigset_t all, old;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr,
		PUMP_STACK > (unsigned)PTHREAD_STACK_MIN ? PUMP_STACK : (size_t)PTHREAD_STACK_MIN);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are the loop's */
	r = pthread_create(&p->thread, &attr, pump_main, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	p->running = r == 0;
	return r ? fault(-r, "start the pump thread") : 0;
}

int pump_start(struct pump *p, struct loop *loop, int log_dirfd, const struct settings *settings,
	void (*changed)(struct pump *p, void *ctx), void *ctx)
{
	int notice, r;

	memset(p, 0, sizeof(*p));
	p->changed = changed;
	p->ctx = ctx;
	p->block_when_full = settings->log_full == LOG_FULL_BLOCK;
	p->paused = true; /* what is held comes in any order */
	pthread_mutex_init(&p->lock, NULL);
	for (int i = 0; i < LOG_STREAMS; i++) {
		r = sink_open(&p->streams[i].sink, log_dirfd, (enum log_stream)i, settings);
		if (r < 0)
			return r;
		p->streams[i].offset = p->streams[i].sink.offset;
	}
	p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	notice = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->wake < 0 || notice < 0)
		return fault(-errno, "eventfd");
	loop_io_start(&p->notice, loop, notice, on_notice, p);
	return spawn_thread(p);
}

void pump_halt(struct pump *p)
{
	if (!p->running)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_mutex_unlock(&p->lock);
	signal_event(p->wake);
	pthread_join(p->thread, NULL);
	p->running = false;
}

void pump_finish(struct pump *p)
{
	if (!p->running)
		return;
	pump_halt(p);
	for (int i = 0; i < LOG_STREAMS; i++) {
		struct pump_stream *s = &p->streams[i];

		for (unsigned k = 0; k < s->len; k++)
			run_close(&s->runs[k]);
		s->len = 0;
		sink_close(&s->sink);
	}
	loop_io_finish(&p->notice);
	fd_close(&p->wake);
}

static struct pump_run *find_run(struct pump_stream *s, uint32_t run)
{
	for (unsigned i = 0; i < s->len; i++)
		if (s->runs[i].run == run)
			return &s->runs[i];
	return NULL;
}

/* A terminal's pipe is one for all runs, each with an entry of its own. */
static struct pump_run *find_pipe(struct pump_stream *s, uint64_t pipe)
{
	for (unsigned i = 0; pipe && i < s->len; i++)
		if (s->runs[i].pipe == pipe && s->runs[i].tty < 0)
			return &s->runs[i];
	return NULL;
}

/* In the order of the runs: after a takeover they come from several hands. */
static void insert(struct pump_stream *s, struct pump_run run)
{
	unsigned i = s->len++;

	for (; i > 0 && s->runs[i - 1].run > run.run; i--)
		s->runs[i] = s->runs[i - 1];
	s->runs[i] = run;
}

/* The pipe goes on as that of a later run: its place is behind those of the runs before. */
static void go_on(struct pump_stream *s, struct pump_run *r, uint32_t run)
{
	struct pump_run moved = *r;

	s->len--;
	memmove(r, r + 1, (s->len - (size_t)(r - s->runs)) * sizeof(*r));
	moved.run = run;
	moved.dead = false;
	insert(s, moved);
}

static uint64_t inode(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

static enum pump_added add(struct pump_stream *s, struct pump_run run)
{
	struct pump_run *same = run.tty < 0 ? find_pipe(s, run.pipe) : NULL;

	if (same) {
		if (run.run > same->run)
			go_on(s, same, run.run);
		return PUMP_KNOWN;
	}
	if (find_run(s, run.run) || run.run <= s->drained)
		return PUMP_OLD;
	if (s->len + s->freed_len >= PUMP_RUNS_MAX)
		return PUMP_FULL;
	insert(s, run);
	return PUMP_ADDED;
}

enum pump_added pump_add(struct pump *p, enum log_stream stream, struct pump_run run)
{
	enum pump_added r;

	run.pipe = inode(run.fd);
	pthread_mutex_lock(&p->lock);
	r = add(&p->streams[stream], run);
	pthread_mutex_unlock(&p->lock);
	if (r != PUMP_ADDED)
		run_close(&run);
	signal_event(p->wake);
	return r;
}

bool pump_known(struct pump *p, enum log_stream stream, int fd, uint32_t run)
{
	struct pump_stream *s = &p->streams[stream];
	struct pump_run *r;
	bool there;

	pthread_mutex_lock(&p->lock);
	r = find_pipe(s, inode(fd));
	there = r != NULL;
	if (there && run > r->run)
		go_on(s, r, run);
	pthread_mutex_unlock(&p->lock);
	return there;
}

unsigned pump_freed(struct pump *p, enum log_stream stream, uint32_t keys[PUMP_RUNS_MAX])
{
	struct pump_stream *s = &p->streams[stream];
	unsigned n;

	pthread_mutex_lock(&p->lock);
	n = s->freed_len;
	memcpy(keys, s->freed, n * sizeof(keys[0]));
	s->freed_len = 0;
	pthread_mutex_unlock(&p->lock);
	return n;
}

void pump_pause(struct pump *p, bool paused)
{
	pthread_mutex_lock(&p->lock);
	p->paused = paused;
	pthread_mutex_unlock(&p->lock);
	signal_event(p->wake);
}

void pump_run_dead(struct pump *p, uint32_t run)
{
	pthread_mutex_lock(&p->lock);
	for (int i = 0; i < LOG_STREAMS; i++)
		for (unsigned k = 0; k < p->streams[i].len; k++)
			if (p->streams[i].runs[k].run <= run)
				p->streams[i].runs[k].dead = true;
	pthread_mutex_unlock(&p->lock);
	signal_event(p->wake);
}

/* What a terminal has taken may still be on its way through the kernel, where no count sees it;
 * only reading brings it forth. So the end is known once the thread has read it empty. */
static bool terminal_busy(const struct pump_stream *s, uint32_t run)
{
	for (unsigned i = 0; i < s->len && s->runs[i].run <= run; i++)
		if (s->runs[i].tty >= 0)
			return true;
	return false;
}

/* Bytes waiting in the pipes of runs up to this one. With the lock held the thread can't close
 * them. */
static uint64_t queued(const struct pump_stream *s, uint32_t run)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < s->len && s->runs[i].run <= run; i++) {
		int n = 0;

		if (ioctl(s->runs[i].fd, FIONREAD, &n) == 0)
			sum += (uint64_t)n;
		if (s->runs[i].tty >= 0 && ioctl(s->runs[i].tty, FIONREAD, &n) == 0)
			sum += (uint64_t)n;
	}
	return sum;
}

uint64_t pump_run_end(struct pump *p, enum log_stream stream, uint32_t run, bool *exact)
{
	struct pump_stream *s = &p->streams[stream];
	uint64_t deadline =
		now_mono() + (p->streams[stream].len && p->streams[stream].runs[0].tty >= 0
					     ? TTY_WAIT_USEC
					     : EXACT_WAIT_USEC);
	uint64_t end;

	for (;;) {
		pthread_mutex_lock(&p->lock);
		end = s->offset + queued(s, run);
		*exact = !s->busy && !terminal_busy(s, run);
		pthread_mutex_unlock(&p->lock);
		if (*exact || now_mono() > deadline)
			return end;
		sched_yield();
	}
}

bool pump_idle(struct pump *p)
{
	bool idle = true;

	pthread_mutex_lock(&p->lock);
	for (int i = 0; i < LOG_STREAMS; i++)
		idle = idle && p->streams[i].len == 0;
	pthread_mutex_unlock(&p->lock);
	return idle;
}

uint32_t pump_drained(struct pump *p)
{
	uint32_t run = UINT32_MAX;

	pthread_mutex_lock(&p->lock);
	for (int i = 0; i < LOG_STREAMS; i++) {
		const struct pump_stream *s = &p->streams[i];
		uint32_t upto = s->len ? s->runs[0].run - 1 : s->drained;

		run = upto < run ? upto : run;
	}
	pthread_mutex_unlock(&p->lock);
	return run;
}
