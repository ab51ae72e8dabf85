/* sources: shim/pump.c shim/pump_end.c shim/pace.c shim/sink.c ipc ev threads */
#include "tests/unit/scratch.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ipc/base/fd.h"
#include "shim/pump.h"

static const struct settings usual = {.log_max_bytes = 1 << 20, .log_max_files = 4};

struct rig {
	struct loop loop;
	struct pump pump;
	const struct scratch *dir;
};

struct ends {
	int rd, wr;
};

static void nothing(struct pump *p, void *ctx)
{
}

static void rig_start(struct rig *r, void **state)
{
	r->dir = *state;
	assert_int_equal(loop_init(&r->loop), 0);
	assert_int_equal(pump_start(&r->pump, &r->loop, r->dir->fd, &usual, nothing, NULL), 0);
}

static void rig_finish(struct rig *r)
{
	pump_finish(&r->pump);
	loop_finish(&r->loop);
}

static struct ends ends_of(const char *text)
{
	struct ends e;
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	e = (struct ends){fds[0], fds[1]};
	assert_int_equal(write(e.wr, text, strlen(text)), strlen(text));
	return e;
}

/* A second descriptor of the pipe, as it comes from another hand. */
static struct pump_run as_run(const struct ends *e, uint32_t run)
{
	return (struct pump_run){.run = run,
		.key = run,
		.fd = fcntl(e->rd, F_DUPFD_CLOEXEC, 0),
		.tty = -1,
		.tty_in = -1};
}

static enum pump_added add(struct rig *r, const struct ends *e, uint32_t run)
{
	return pump_add(&r->pump, LOG_STDOUT, as_run(e, run));
}

static void drained_to(struct rig *r, uint32_t run, const char *text)
{
	char buf[128] = "";

	for (int i = 0; i < 5000 && pump_drained(&r->pump) < run; i++)
		poll(NULL, 0, 1);
	/* nothing ever came on the other stream: its newest is 0 */
	for (int i = 0; i < 5000 && r->pump.streams[LOG_STDOUT].len > 0; i++)
		poll(NULL, 0, 1);
	assert_int_equal(r->pump.streams[LOG_STDOUT].drained, run);
	assert_true(pread(r->pump.streams[LOG_STDOUT].sink.raw, buf, sizeof(buf) - 1, 0) >= 0);
	assert_string_equal(buf, text);
}

static void hang_up(struct ends *e)
{
	close(e->wr);
	close(e->rd);
}

static void in_the_order_of_the_runs(void **state)
{
	struct ends a = ends_of("one "), b = ends_of("two "), c = ends_of("three");
	struct rig r;

	rig_start(&r, state);
	assert_int_equal(add(&r, &c, 3), PUMP_ADDED);
	assert_int_equal(add(&r, &a, 1), PUMP_ADDED);
	assert_int_equal(add(&r, &b, 2), PUMP_ADDED);
	hang_up(&a);
	hang_up(&b);
	hang_up(&c);
	pump_pause(&r.pump, false);
	r.pump.streams[LOG_STDERR].drained = 3;
	drained_to(&r, 3, "one two three");
	for (uint32_t run = 1; run <= 3; run++) { /* asked for when all of it has long been moved */
		const uint64_t ends[] = {0, 4, 8, 13};
		bool exact;

		assert_int_equal(pump_run_end(&r.pump, LOG_STDOUT, run, &exact), ends[run]);
		assert_true(exact);
	}
	rig_finish(&r);
}

/* The thread has moved "one " and gets no CPU to say so. */
static void a_thread_that_lags(void **state)
{
	struct ends a = ends_of("one ");
	struct rig r;
	bool exact;

	rig_start(&r, state);
	assert_int_equal(add(&r, &a, 1), PUMP_ADDED);
	pump_pause(&r.pump, false);
	for (int i = 0; i < 5000 && pump_moved(&r.pump) < 4; i++)
		poll(NULL, 0, 1);
	pump_halt(&r.pump);
	assert_int_equal(write(a.wr, "two", 3), 3);
	r.pump.streams[LOG_STDOUT].offset = 0;
	r.pump.streams[LOG_STDOUT].busy = true;
	assert_int_equal(pump_run_end(&r.pump, LOG_STDOUT, 1, &exact), 7);
	assert_true(exact);
	hang_up(&a);
	rig_finish(&r);
}

/* Runs 13 to 40 have written to the last of four pipes; of this nobody heard but "40, used again".
 * It is another pipe than the newest one known, which must neither take its place nor its number.
 */
static void a_pipe_is_told_by_what_it_is(void **state)
{
	struct ends a = ends_of("twelve "), b = ends_of("thirteen to forty");
	struct pump_run stream;
	struct rig r;

	rig_start(&r, state);
	assert_int_equal(add(&r, &a, 12), PUMP_ADDED);
	assert_false(pump_known(&r.pump, LOG_STDOUT, b.rd, 40));
	assert_int_equal(add(&r, &b, 40), PUMP_ADDED);
	assert_int_equal(add(&r, &a, 12), PUMP_KNOWN);
	assert_int_equal(add(&r, &b, 40), PUMP_KNOWN);
	stream = r.pump.streams[LOG_STDOUT].runs[0];
	assert_int_equal(stream.run, 12);
	hang_up(&a);
	hang_up(&b);
	pump_pause(&r.pump, false);
	r.pump.streams[LOG_STDERR].drained = 40;
	drained_to(&r, 40, "twelve thirteen to forty");
	rig_finish(&r);
}

static void a_pipe_goes_on_as_that_of_a_later_run(void **state)
{
	struct ends a = ends_of("first "), b = ends_of("between ");
	uint32_t keys[PUMP_RUNS_MAX];
	struct rig r;

	rig_start(&r, state);
	assert_int_equal(add(&r, &a, 5), PUMP_ADDED);
	assert_int_equal(add(&r, &b, 6), PUMP_ADDED);
	pump_run_dead(&r.pump, 6);
	assert_true(pump_known(&r.pump, LOG_STDOUT, b.rd, 9));
	assert_true(pump_known(&r.pump, LOG_STDOUT, b.rd, 7)); /* an old word: 9 it stays */
	pump_pause(&r.pump, false);
	/* run 9 lives: its pipe is read and stays */
	for (int i = 0; i < 5000 && r.pump.streams[LOG_STDOUT].offset < 14; i++)
		poll(NULL, 0, 1);
	assert_int_equal(write(b.wr, "later", 5), 5);
	hang_up(&a);
	hang_up(&b);
	r.pump.streams[LOG_STDERR].drained = 9;
	drained_to(&r, 9, "first between later");
	/* held as what they were when they came */
	assert_int_equal(pump_freed(&r.pump, LOG_STDOUT, keys), 2);
	assert_int_equal(keys[0], 5);
	assert_int_equal(keys[1], 6);
	assert_int_equal(pump_freed(&r.pump, LOG_STDOUT, keys), 0);
	rig_finish(&r);
}

static void bounds_and_repetitions(void **state)
{
	struct ends all[PUMP_RUNS_MAX], more = ends_of("x");
	uint32_t keys[PUMP_RUNS_MAX];
	struct rig r;

	rig_start(&r, state);
	for (uint32_t i = 0; i < PUMP_RUNS_MAX; i++) {
		all[i] = ends_of("y");
		assert_int_equal(add(&r, &all[i], i + 1), PUMP_ADDED);
	}
	assert_int_equal(add(&r, &more, PUMP_RUNS_MAX + 1), PUMP_FULL);
	assert_int_equal(add(&r, &more, 3), PUMP_OLD); /* its pipe is another one */
	for (uint32_t i = 0; i < PUMP_RUNS_MAX; i++)
		hang_up(&all[i]);
	pump_pause(&r.pump, false);
	r.pump.streams[LOG_STDERR].drained = PUMP_RUNS_MAX;
	drained_to(&r, PUMP_RUNS_MAX, "yyyyyyyyyyyyyyyy");
	/* what is drained is taken back before there is room again */
	assert_int_equal(add(&r, &more, PUMP_RUNS_MAX + 1), PUMP_FULL);
	assert_int_equal(pump_freed(&r.pump, LOG_STDOUT, keys), PUMP_RUNS_MAX);
	assert_int_equal(add(&r, &more, PUMP_RUNS_MAX), PUMP_OLD);
	assert_int_equal(add(&r, &more, PUMP_RUNS_MAX + 1), PUMP_ADDED);
	hang_up(&more);
	rig_finish(&r);
}

static int memory_of(const char *text)
{
	int fd = memfd_create("spool", MFD_CLOEXEC);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static void until_spooled(struct rig *r)
{
	for (int i = 0; i < 5000 && pump_spooling(&r->pump, LOG_STDOUT) >= 0; i++)
		poll(NULL, 0, 1);
	assert_true(pump_spooling(&r->pump, LOG_STDOUT) < 0);
}

/* A predecessor may have drained its pipe, and those of later runs. */
static void the_end_of_an_unknown_run_is_a_guess(void **state)
{
	struct rig r;
	bool exact;

	rig_start(&r, state);
	assert_int_equal(pump_run_end(&r.pump, LOG_STDOUT, 3, &exact), 0);
	assert_false(exact);
	rig_finish(&r);
}

/* What init kept goes first, and what it had to drop is counted where it is missing. */
static void a_spool_goes_before_the_pipes(void **state)
{
	struct spool_state spool = {.len = 5, .dropped = 7};
	struct ends a = ends_of("live");
	struct rig r;
	bool exact;

	rig_start(&r, state);
	pump_spool(&r.pump, LOG_STDOUT, memory_of("kept "), &spool, 3);
	assert_int_equal(spool.base, 1);
	assert_int_equal(add(&r, &a, 4), PUMP_ADDED);
	assert_int_equal(pump_run_end(&r.pump, LOG_STDOUT, 3, &exact), 5);
	assert_false(exact || pump_idle(&r.pump));
	pump_pause(&r.pump, false);
	until_spooled(&r);
	hang_up(&a);
	r.pump.streams[LOG_STDERR].drained = 4;
	drained_to(&r, 4, "kept live");
	assert_true(spool.base == SPOOL_COPIED && spool.dropped == 0);
	assert_int_equal(r.pump.streams[LOG_STDOUT].dropped, 7);
	assert_true(pump_idle(&r.pump));
	rig_finish(&r);
}

/* A predecessor died over it, after two bytes, after all of them, or once it had gone on. */
static void a_spool_is_gone_on_with(void **state)
{
	static const struct {
		const char *there;
		uint64_t base;
	} cases[] = {{"before ke", 8}, {"before kept", 8}, {"before kept", SPOOL_COPIED},
		{"before kept", 8}};
	struct ends a = ends_of("before ke");
	struct rig r;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct spool_state spool = {.len = 4, .base = cases[i].base};

		rig_start(&r, state);
		if (i == 0) { /* the log as the predecessor left it */
			assert_int_equal(add(&r, &a, 1), PUMP_ADDED);
			hang_up(&a);
			pump_pause(&r.pump, false);
			r.pump.streams[LOG_STDERR].drained = 1;
			drained_to(&r, 1, cases[i].there);
			pump_pause(&r.pump, true);
			rig_finish(&r);
			rig_start(&r, state);
		}
		pump_spool(&r.pump, LOG_STDOUT, memory_of("kept"), &spool, 1);
		pump_pause(&r.pump, false);
		until_spooled(&r);
		assert_true(spool.base == SPOOL_COPIED);
		assert_int_equal(r.pump.streams[LOG_STDOUT].offset, strlen("before kept"));
		rig_finish(&r);
	}
}

/* Numbers that a hostile PID 1 has written. */
static void a_spool_that_is_none(void **state)
{
	struct spool_state spools[] = {
		{.len = UINT64_MAX}, {.len = 4, .base = UINT64_MAX - 1}, {.len = 100, .base = 1}};
	struct rig r;

	for (size_t i = 0; i < sizeof(spools) / sizeof(spools[0]); i++) {
		rig_start(&r, state);
		pump_spool(&r.pump, LOG_STDOUT, memory_of("kept"), &spools[i], 1);
		pump_pause(&r.pump, false);
		until_spooled(&r);
		assert_true(r.pump.streams[LOG_STDOUT].offset <= 8);
		rig_finish(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_scratch(in_the_order_of_the_runs),
		in_scratch(a_thread_that_lags),
		in_scratch(a_pipe_is_told_by_what_it_is),
		in_scratch(a_pipe_goes_on_as_that_of_a_later_run),
		in_scratch(bounds_and_repetitions),
		in_scratch(the_end_of_an_unknown_run_is_a_guess),
		in_scratch(a_spool_goes_before_the_pipes),
		in_scratch(a_spool_is_gone_on_with),
		in_scratch(a_spool_that_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
