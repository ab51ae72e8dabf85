#include "shim/pump.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/slice.h"

#define PUMP_STACK	(64u << 10)
#define FULL_RETRY_MSEC 200		     /* a full disk does not tell when it has room again */
#define LATER_NONE	-1		     /* something will come, or not: wait for it */
#define SLICE_USEC	(20 * USEC_PER_MSEC) /* who serves somebody goes first */

static void signal_event(int fd)
{
	uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) < 0)
		return; /* EAGAIN: it is signalled already */
}

/* The thread ------------------------------------------------------------------------------------
 */

static void notify(struct pump *p, bool *what)
{
	__atomic_store_n(what, true, __ATOMIC_SEQ_CST);
	signal_event(p->notice.fd);
}

enum source {
	SOURCE_NONE,
	SOURCE_SPOOL,
	SOURCE_PIPE,
};

/* What goes into the log next: one look, since between two the owner may let the pump go on, and a
 * pipe would overtake the spool. */
static enum source source_of(struct pump *p, const struct pump_stream *s, struct pump_run *head)
{
	enum source from = SOURCE_NONE;

	pthread_mutex_lock(&p->lock);
	if (!p->paused && s->spool.fd >= 0) {
		from = SOURCE_SPOOL;
	} else if (!p->paused && s->len > 0) {
		from = SOURCE_PIPE;
		*head = s->runs[0];
	}
	pthread_mutex_unlock(&p->lock);
	return from;
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
	s->ended[done.run % PUMP_ENDS].run = done.run;
	s->ended[done.run % PUMP_ENDS].end = s->offset;
	pthread_mutex_unlock(&p->lock);
	run_close(&done);
	notify(p, &p->has_changed);
}

static uint64_t moved(const struct pump *p)
{
	uint64_t n = 0;

	for (int i = 0; i < LOG_STREAMS; i++)
		n += p->streams[i].offset;
	return n;
}

static void set_busy(struct pump *p, struct pump_stream *s, bool busy)
{
	bool tell;

	pthread_mutex_lock(&p->lock);
	s->busy = busy;
	s->offset = s->sink.offset;
	tell = p->tell_at && moved(p) >= p->tell_at;
	p->told |= tell;
	p->tell_at = tell ? 0 : p->tell_at;
	pthread_mutex_unlock(&p->lock);
	if (tell)
		notify(p, &p->has_changed);
}

/* Counted in the log itself, where the bytes are missing. */
static void note_dropped(
	struct pump *p, struct pump_stream *s, uint64_t bytes, uint32_t run, int err)
{
	sink_gap(&s->sink, bytes, run);
	pthread_mutex_lock(&p->lock);
	s->dropped += bytes;
	s->err = err;
	pthread_mutex_unlock(&p->lock);
	notify(p, &p->has_changed);
}

/* The log takes no more: what the pipe holds goes nowhere, counted. */
static bool drop(struct pump *p, struct pump_stream *s, const struct pump_run *r, int err)
{
	auto_fd null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	ssize_t n = splice(r->fd, NULL, null, NULL, 1u << 20, SPLICE_F_NONBLOCK);

	if (n <= 0)
		return false;
	note_dropped(p, s, (uint64_t)n, r->run, err);
	return true;
}

/* From the terminal into the pipe that outlives us; a splice from there straight into a file is
 * EINVAL. */
static int64_t feed_from_tty(const struct pump_run *r)
{
	ssize_t n = splice(r->tty, NULL, r->tty_in, NULL, 65536, SPLICE_F_NONBLOCK);

	return n < 0 ? -errno : n;
}

static void tell_grown(struct pump *p)
{
	if (__atomic_exchange_n(&p->tell, false, __ATOMIC_SEQ_CST))
		notify(p, &p->has_grown);
}

/* When to look again, msec. */
static int turn(struct pump *p, struct pump_stream *s, const struct pump_run *r)
{
	int64_t n, fed = 0;

	set_busy(p, s, true);
	if (r->tty >= 0)
		fed = feed_from_tty(r);
	n = sink_splice(&s->sink, r->fd, r->run);
	set_busy(p, s, false);
	if (n > 0) {
		tell_grown(p);
		return r->dead ? 0 : pace_msec(&s->pace, n, r->size, now_mono());
	}
	if (fed > 0)
		return 0;
	if (n == 0 || (n == -EAGAIN && r->dead)) {
		run_drained(p, s, r);
		return 0;
	}
	/* A terminal that nobody has open at the moment answers EIO and polls as hung up: look
	 * again later rather than at once. */
	if (n == -EAGAIN)
		return fed < 0 && fed != -EAGAIN ? FULL_RETRY_MSEC : LATER_NONE;
	if (p->block_when_full)
		return FULL_RETRY_MSEC;
	return drop(p, s, r, (int)n) ? 0 : FULL_RETRY_MSEC;
}

/* All is there, and what did not fit into the memory is said: never again. */
static void spool_end(struct pump *p, struct pump_stream *s)
{
	struct pump_spool *sp = &s->spool;

	if (sp->state->dropped)
		note_dropped(p, s, sp->state->dropped, sp->run, -ENOBUFS);
	sp->state->dropped = 0;
	__atomic_store_n(&sp->state->base, SPOOL_COPIED, __ATOMIC_RELEASE);
	pthread_mutex_lock(&p->lock);
	fd_close(&sp->fd);
	pthread_mutex_unlock(&p->lock);
	notify(p, &p->has_changed);
}

static int spool_turn(struct pump *p, struct pump_stream *s)
{
	struct pump_spool *sp = &s->spool;
	int64_t n = 0;

	if (sp->at < sp->len) {
		set_busy(p, s, true);
		n = sink_copy(&s->sink, sp->fd, sp->at, sp->len - sp->at, sp->run);
		set_busy(p, s, false);
	}
	if (n > 0) {
		pthread_mutex_lock(&p->lock);
		sp->at += (uint64_t)n;
		pthread_mutex_unlock(&p->lock);
		tell_grown(p);
		return 0;
	}
	if (n < 0 && p->block_when_full)
		return FULL_RETRY_MSEC;
	if (n < 0)
		note_dropped(p, s, sp->len - sp->at, sp->run, (int)n);
	spool_end(p, s);
	return 0;
}

static int sooner(int a, int b)
{
	return a < 0 || b < a ? b : a;
}

static void *pump_main(void *arg)
{
	struct pump *p = arg;

	slice_ask(SLICE_USEC);
	for (;;) {
		struct pollfd fds[1 + 2 * LOG_STREAMS] = {{.fd = p->wake, .events = POLLIN}};
		int timeout = -1;
		nfds_t n = 1;
		uint64_t count;

		for (int i = 0; i < LOG_STREAMS; i++) {
			struct pump_stream *s = &p->streams[i];
			struct pump_run r = {.fd = -1, .tty = -1};
			enum source from = source_of(p, s, &r);
			int later;

			if (from == SOURCE_NONE)
				continue;
			later = from == SOURCE_SPOOL ? spool_turn(p, s) : turn(p, s, &r);
			if (later != LATER_NONE)
				timeout = sooner(timeout, later);
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

	if (read(io->fd, &count, sizeof(count)) < 0)
		return;
	if (__atomic_exchange_n(&p->has_grown, false, __ATOMIC_SEQ_CST))
		p->grown(p->ctx);
	if (__atomic_exchange_n(&p->has_changed, false, __ATOMIC_SEQ_CST))
		p->changed(p, p->ctx);
}

void pump_tell(struct pump *p, void (*grown)(void *ctx))
{
	p->grown = grown;
	__atomic_store_n(&p->tell, true, __ATOMIC_SEQ_CST);
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
		p->streams[i].spool.fd = -1;
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
		fd_close(&s->spool.fd);
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
	run.size = fcntl(run.fd, F_GETPIPE_SZ);
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

/* How much of it a predecessor has put into the log. */
static uint64_t spool_done(
	const struct pump_stream *s, const struct spool_state *state, uint64_t len)
{
	uint64_t base = state->base, done;

	if (base == SPOOL_COPIED)
		return len;
	done = base <= s->offset ? s->offset + 1 - base : 0;
	return done < len ? done : len;
}

void pump_spool(
	struct pump *p, enum log_stream stream, int fd, struct spool_state *state, uint32_t run)
{
	struct pump_stream *s = &p->streams[stream];
	uint64_t len = state->len < SPOOL_MAX ? state->len : SPOOL_MAX;

	pthread_mutex_lock(&p->lock);
	if (!state->base)
		state->base = s->offset + 1;
	fd_close(&s->spool.fd);
	s->spool = (struct pump_spool){
		.fd = fd, .at = spool_done(s, state, len), .len = len, .run = run, .state = state};
	pthread_mutex_unlock(&p->lock);
}

int pump_spooling(struct pump *p, enum log_stream stream)
{
	int fd;

	pthread_mutex_lock(&p->lock);
	fd = p->streams[stream].spool.fd;
	pthread_mutex_unlock(&p->lock);
	return fd;
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

uint64_t pump_moved(struct pump *p)
{
	uint64_t n;

	pthread_mutex_lock(&p->lock);
	n = moved(p);
	pthread_mutex_unlock(&p->lock);
	return n;
}

void pump_watch(struct pump *p, uint64_t bytes)
{
	pthread_mutex_lock(&p->lock);
	p->tell_at = bytes ? moved(p) + bytes : 0;
	p->told = false;
	pthread_mutex_unlock(&p->lock);
}

bool pump_told(struct pump *p)
{
	bool told;

	pthread_mutex_lock(&p->lock);
	told = p->told;
	p->told = false;
	pthread_mutex_unlock(&p->lock);
	return told;
}

bool pump_idle(struct pump *p)
{
	bool idle = true;

	pthread_mutex_lock(&p->lock);
	for (int i = 0; i < LOG_STREAMS; i++)
		idle = idle && p->streams[i].len == 0 && p->streams[i].spool.fd < 0;
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
