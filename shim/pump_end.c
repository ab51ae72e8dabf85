/* Where the output of a run ends, for whoever is told of its end before all of it is in the log. */
#include <sched.h>
#include <sys/ioctl.h>

#include "ipc/base/clock.h"
#include "shim/pump.h"

#define EXACT_WAIT_USEC (2 * USEC_PER_MSEC)
#define TTY_WAIT_USEC	(50 * USEC_PER_MSEC)

static bool has_run(const struct pump_stream *s, uint32_t run)
{
	for (unsigned i = 0; i < s->len; i++)
		if (s->runs[i].run == run)
			return true;
	return false;
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

/* What later runs wrote may have been moved by now. true: there is no more to learn of this one: it
 * is drained, or its pipe is not known here, since a predecessor has drained it (and maybe others
 * that came after it, of which nothing is known here either) or a later run writes to it. */
static bool ended_at(struct pump_stream *s, uint32_t run, uint64_t *end, bool *exact)
{
	if (s->spool.fd >= 0) { /* its bytes may be in there */
		*exact = false;
		*end = s->offset + s->spool.len - s->spool.at + queued(s, run);
		return true;
	}
	if (run == 0 || (run > s->drained && has_run(s, run)))
		return false;
	*exact = s->ended[run % PUMP_ENDS].run == run;
	*end = *exact ? s->ended[run % PUMP_ENDS].end : s->offset;
	return true;
}

/* While a splice is under way the thread's count is behind, for long when the thread gets no CPU.
 * The file is not: it grows with the pipe locked, as the pipe is counted, so two equal sizes around
 * one count add up with it. */
static bool settled(struct pump_stream *s, uint32_t run, uint64_t *end)
{
	int64_t before = log_stream_end(s->sink.dirfd, s->sink.stream);
	uint64_t left = queued(s, run);
	bool still = before >= 0 && (uint64_t)before >= s->offset &&
		     log_stream_end(s->sink.dirfd, s->sink.stream) == before;

	if (still)
		*end = (uint64_t)before + left;
	return still;
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
		bool over, late = false;

		pthread_mutex_lock(&p->lock);
		over = ended_at(s, run, &end, exact);
		if (!over) {
			end = s->offset + queued(s, run);
			*exact = !s->busy && !terminal_busy(s, run);
			late = now_mono() > deadline;
			if (!*exact && late && !terminal_busy(s, run))
				*exact = settled(s, run, &end);
		}
		pthread_mutex_unlock(&p->lock);
		if (over || *exact || late)
			return end;
		sched_yield();
	}
}
