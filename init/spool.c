#include "init/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "init/pid1.h"

#define DISCARD_MAX (1u << 20)

void spool_init(struct spool *s)
{
	s->fd[STREAM_OUT] = s->fd[STREAM_ERR] = -1;
}

static void reset(struct pid1 *p, int stream)
{
	if (p->spool.fd[stream] >= 0)
		close(p->spool.fd[stream]);
	p->spool.fd[stream] = -1;
	p->shared->spool[stream] = (struct spool_state){0};
}

void spool_reset(struct pid1 *p)
{
	for (int i = 0; i < STREAMS; i++)
		reset(p, i);
}

/* The place in the stream's file where the next bytes go, NULL: there is no room for any. Nor is
 * there behind a gap, which is told as what follows the file. */
static struct spool_state *room(struct pid1 *p, int stream, int *file)
{
	struct spool_state *s = &p->shared->spool[stream];

	*file = -1;
	if (s->dropped)
		return NULL;
	if (p->spool.fd[stream] < 0 && s->len < SPOOL_MAX)
		p->spool.fd[stream] = memfd_create("holdfast-output", MFD_CLOEXEC);
	*file = p->spool.fd[stream];
	return *file < 0 || s->len >= SPOOL_MAX ? NULL : s;
}

/* > 0: bytes were moved or dropped; 0: the end of the pipe; -1: it is empty. */
static ssize_t from_pipe(struct pid1 *p, int stream, int pipe)
{
	int file;
	struct spool_state *s = room(p, stream, &file);
	loff_t at = s ? (loff_t)s->len : 0;
	ssize_t n = -1;

	if (s)
		n = splice(pipe, NULL, file, &at, SPOOL_MAX - s->len, SPLICE_F_NONBLOCK);
	if (s && (n >= 0 || errno == EAGAIN)) {
		s->len += n > 0 ? (uint64_t)n : 0;
		return n;
	}
	/* full, or the container has no memory for it */
	n = splice(pipe, NULL, PLAN_FD_NULL, NULL, DISCARD_MAX, SPLICE_F_NONBLOCK);
	p->shared->spool[stream].dropped += n > 0 ? (uint64_t)n : 0;
	return n;
}

/* From a terminal nothing can be moved into a file without a pipe. */
static void from_terminal(struct pid1 *p)
{
	char buf[512];
	int file;
	struct spool_state *s = room(p, STREAM_OUT, &file);
	size_t want = s && SPOOL_MAX - s->len < sizeof(buf) ? SPOOL_MAX - s->len : sizeof(buf);
	ssize_t n = read(PLAN_FD_TTY, buf, want);

	if (n <= 0)
		return;
	if (s && pwrite(file, buf, (size_t)n, (off_t)s->len) == n)
		s->len += (uint64_t)n;
	else
		p->shared->spool[STREAM_OUT].dropped += (uint64_t)n;
}

void spool_begin(struct pid1 *p)
{
	int pipe = door_find(&p->door, HELD_TTY_PIPE_RD);

	for (int i = 0; i < STREAMS; i++) {
		struct spool_state *s = &p->shared->spool[i];

		/* what is in the log already is not for the next adopter; nor is what a PID 1
		 * before us had in a file, but what was dropped is, until it is told */
		if (s->base == SPOOL_COPIED)
			reset(p, i);
		else if (p->spool.fd[i] < 0)
			s->len = s->base = 0;
	}
	/* it had left the terminal before */
	while (pipe >= 0 && from_pipe(p, STREAM_OUT, pipe) > 0)
		;
}

int spool_source(const struct pid1 *p, int stream)
{
	const struct output_pair *oldest = &p->output.pairs[0];

	if (p->connected)
		return -1;
	if (p->plan.flags & PLAN_TTY)
		return stream == STREAM_OUT && pid1_has(p, PLAN_FD_TTY) ? PLAN_FD_TTY : -1;
	return p->output.count && !(oldest->ended >> stream & 1) ? oldest->read[stream] : -1;
}

void spool_settle(struct pid1 *p)
{
	uint32_t current = p->run.child.pid ? p->shared->run : 0;
	const struct output_pair *oldest = &p->output.pairs[0];

	while (!p->connected && p->output.count && oldest->last != current &&
		oldest->ended == (1u << STREAMS) - 1)
		output_drained(&p->output, oldest->last, current);
}

void spool_turn(struct pid1 *p, int stream)
{
	int fd = spool_source(p, stream);

	if (fd < 0)
		return;
	if (p->plan.flags & PLAN_TTY)
		from_terminal(p);
	else if (from_pipe(p, stream, fd) == 0)
		p->output.pairs[0].ended |= 1u << stream;
}
