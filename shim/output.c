/* The pipes of the service's output on their way to the pump: from the keeper, which holds them
 * over a shim's death, and from init, which makes them. The same pipe may come from both, more than
 * once, and as that of several runs (init uses the newest again while four are undrained), so what
 * counts is which pipe it is. Drained, it is given back to both. */
#include <fcntl.h>
#include <sys/stat.h>

#include "ipc/base/fd.h"
#include "shim/shim.h"

static const enum held_kind kinds[LOG_STREAMS] = {
	[LOG_STDOUT] = HELD_STDOUT,
	[LOG_STDERR] = HELD_STDERR,
};

/* The keeper may let go of what is drained, by the very name that it was given. */
static void release(struct shim *s, enum log_stream stream)
{
	uint32_t keys[PUMP_RUNS_MAX];
	unsigned n = pump_freed(&s->pump, stream, keys);

	for (unsigned i = 0; i < n; i++)
		link_keeper_drop(s, kinds[stream], keys[i]);
}

/* Takes over fd, which the keeper holds as `key`. */
static void add(struct shim *s, enum log_stream stream, uint32_t run, int fd)
{
	const struct pump_run pipe = {.run = run, .key = run, .fd = fd, .tty = -1, .tty_in = -1};

	release(s, stream);
	switch (pump_add(&s->pump, stream, pipe)) {
	case PUMP_ADDED:
		return;
	case PUMP_FULL: /* more than init ever keeps: not its doing */
		journal_warn(&s->journal,
			"output of run %u: too many pipes are undrained, left out", run);
		break;
	case PUMP_KNOWN: /* held by an earlier name */
	case PUMP_OLD:
		break;
	}
	link_keeper_drop(s, kinds[stream], run);
}

void output_held(struct shim *s, enum log_stream stream, uint64_t key, int fd)
{
	add(s, stream, (uint32_t)key, fd);
}

static bool is_pipe(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
}

/* What comes out of the container is taken for nothing but what it shows to be. */
void output_pipe(struct shim *s, enum log_stream stream, uint32_t run, int fd)
{
	if (!is_pipe(fd) || pump_known(&s->pump, stream, fd, run)) {
		fd_close(&fd);
		return;
	}
	link_keeper_hold(s, kinds[stream], run, fd);
	add(s, stream, run, fd);
}

static void tell_gap(struct shim *s, enum log_stream i)
{
	struct pump_stream *stream = &s->pump.streams[i];
	struct rec_gap gap = {.stream = (uint32_t)i + 1};

	pthread_mutex_lock(&s->pump.lock);
	gap.bytes = stream->dropped;
	gap.offset = stream->offset;
	gap.err = stream->err;
	stream->dropped = 0;
	pthread_mutex_unlock(&s->pump.lock);
	if (gap.bytes)
		journal_append(
			&s->journal, RECORD_OUTPUT_GAP, 0, s->journal.now.run, &gap, sizeof(gap));
}

/* init closes its ends of all runs up to the drained one: never before we have heard of all of
 * them. */
void output_settle(struct shim *s)
{
	struct u32_req drained = {.value = pump_drained(&s->pump)};

	if (s->sync_tag || link_init_missed(s))
		return; /* told when we have caught up */
	if (drained.value > 0 && drained.value != UINT32_MAX)
		link_init_send(s, INIT_DRAINED, 0, &drained, sizeof(drained));
}

void output_spools(struct shim *s)
{
	for (int i = 0; i < LOG_STREAMS; i++) {
		/* init had no memory for a file: what it dropped is to be told all the same */
		if (s->spools[i] < 0 && s->shared && s->shared->spool[i].dropped)
			s->spools[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		if (s->spools[i] >= 0 && s->shared)
			pump_spool(&s->pump, (enum log_stream)i, fd_take(&s->spools[i]),
				&s->shared->spool[i], s->journal.now.run);
	}
}

/* What init kept in memory is all in the log: it and the keeper may let go of it. */
static void spools_done(struct shim *s)
{
	bool any = false;

	for (int i = 0; i < LOG_STREAMS; i++) {
		if (pump_spooling(&s->pump, (enum log_stream)i) >= 0)
			return;
		any |= s->pump.streams[i].spool.state != NULL;
	}
	if (!any)
		return;
	link_init_send(s, INIT_SPOOLED, 0, NULL, 0);
	for (int i = 0; i < LOG_STREAMS; i++) {
		s->pump.streams[i].spool.state = NULL;
		link_keeper_drop(s, HELD_SPOOL, (uint64_t)i);
	}
}

void output_changed(struct pump *p, void *shim)
{
	struct shim *s = shim;

	for (int i = 0; i < LOG_STREAMS; i++) {
		tell_gap(s, (enum log_stream)i);
		release(s, (enum log_stream)i);
	}
	spools_done(s);
	if (pump_told(p))
		overload_flood(s);
	output_settle(s);
	link_init_catch_up(s);
	retire_check(s);
}
