#include "init/output.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define PIPE_DEFAULT 65536

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void output_init(struct output *o)
{
	memset(o, 0, sizeof(*o));
	for (int s = 0; s < STREAMS; s++)
		o->write[s] = o->old[s] = -1;
}

/* One pipe of the wanted size; over the host's limit for unprivileged users: the largest below it.
 */
static int make_pipe(int *rd, int *wr, uint32_t want, uint32_t *size)
{
	int fds[2], got = -1;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -1;
	for (; got < 0 && want > PIPE_DEFAULT; want /= 2)
		got = fcntl(fds[1], F_SETPIPE_SZ, (int)want);
	if (got < 0)
		got = fcntl(fds[1], F_GETPIPE_SZ);
	*rd = fds[0];
	*wr = fds[1];
	if (*size == 0 || (uint32_t)got < *size)
		*size = (uint32_t)got;
	return 0;
}

static void close_both(int fds[STREAMS])
{
	for (int s = 0; s < STREAMS; s++)
		close_fd(&fds[s]);
}

void output_rest(struct output *o)
{
	close_both(o->old);
}

/* With no fresh pair left the next run may need the newest one's again. */
void output_ended(struct output *o)
{
	output_rest(o);
	if (o->count < OUTPUT_PAIRS)
		close_both(o->write);
}

void output_unused(struct output *o, int stream)
{
	if (o->count < OUTPUT_PAIRS)
		close_fd(&o->write[stream]);
}

struct output_pair *output_next(struct output *o, uint32_t run, uint32_t size)
{
	struct output_pair *pair = &o->pairs[o->count];

	if (o->count == OUTPUT_PAIRS) {
		pair = &o->pairs[OUTPUT_PAIRS - 1];
		pair->last = run;
		return pair;
	}
	output_rest(o);
	memcpy(o->old, o->write, sizeof(o->old));
	o->write[STREAM_OUT] = o->write[STREAM_ERR] = -1;
	*pair = (struct output_pair){.first = run, .last = run, .read = {-1, -1}};
	for (int s = 0; s < STREAMS; s++) {
		if (make_pipe(&pair->read[s], &o->write[s], size, &pair->size) == 0)
			continue;
		close_fd(&pair->read[STREAM_OUT]);
		close_both(o->write);
		return NULL;
	}
	o->count++;
	return pair;
}

void output_drained(struct output *o, uint32_t run, uint32_t current)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < o->count; i++) {
		struct output_pair *pair = &o->pairs[i];

		if (pair->last > run || (current && pair->last == current)) {
			o->pairs[kept++] = *pair;
			continue;
		}
		close_fd(&pair->read[STREAM_OUT]);
		close_fd(&pair->read[STREAM_ERR]);
	}
	o->count = kept;
	if (!current) /* a fresh pair is possible again: the newest one may see its end */
		output_ended(o);
}
