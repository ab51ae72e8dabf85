/* sources: ipc ev */
#include "tests/unit/unit.h"

#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/loop.h"

#define HANG_USEC (200 * USEC_PER_MSEC)

static struct loop loop;
static struct loop_timer timer, end;
static uint64_t turns_usec, busy_usec; /* a turn every so often, which takes so long */

static void burn(uint64_t usec)
{
	for (uint64_t until = now_mono() + usec; now_mono() < until;)
		;
}

static void on_turn(struct loop_timer *t)
{
	burn(busy_usec);
	loop_timer_set(t, turns_usec);
}

static void on_end(struct loop_timer *t)
{
	loop_stop(&loop);
}

/* In a process of its own: its wait status. */
static int run(uint64_t every, uint64_t busy, uint64_t for_usec, bool stop_it)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		struct rlimit none = {0, 0};

		setrlimit(RLIMIT_CORE, &none);
		turns_usec = every;
		busy_usec = busy;
		if (loop_init(&loop) < 0 || loop_guard(&loop, HANG_USEC) < 0)
			_exit(99);
		loop_timer_init(&timer, &loop, on_turn, NULL);
		loop_timer_init(&end, &loop, on_end, NULL);
		loop_timer_set(&timer, 0);
		loop_timer_set(&end, for_usec);
		loop_run(&loop);
		loop_unguard(&loop);
		loop_finish(&loop);
		_exit(0);
	}
	assert_true(pid > 0);
	if (stop_it) { /* while it waits, its guard armed by the turn before */
		poll(NULL, 0, 50);
		kill(pid, SIGSTOP);
		poll(NULL, 0, 3 * HANG_USEC / USEC_PER_MSEC);
		kill(pid, SIGCONT);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* A machine that takes the CPU away for as long ends it as well: once in a few times it does not.
 */
static void let_be(uint64_t turns, uint64_t busy)
{
	int status = -1;

	for (int i = 0; i < 5 && status != 0; i++)
		status = run(turns, busy, 5 * HANG_USEC, false);
	assert_int_equal(status, 0);
}

static void turns_that_end_are_let_be(void **state)
{
	let_be(USEC_PER_MSEC, 0);
	let_be(0, HANG_USEC / 3);
	let_be(HANG_USEC * 2, 0);
}

static void one_that_does_not_is_ended(void **state)
{
	uint64_t begun = now_mono();
	int status = run(USEC_PER_MSEC, 1000 * HANG_USEC, 100 * HANG_USEC, false);

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
	assert_true(now_mono() - begun >= HANG_USEC);
	assert_true(now_mono() - begun < 10 * HANG_USEC);
}

static void stopped_is_not_hung(void **state)
{
	assert_int_equal(run(100 * HANG_USEC, 0, 5 * HANG_USEC, true), 0);
}

static void idle(struct ev_loop *ev, struct ev_prepare *w, int events)
{
	++*(int *)w->data;
}

/* However long it waits: the turn that works, and the one in which the guard is disarmed. */
static void an_idle_loop_runs_nothing(void **state)
{
	struct ev_prepare count;
	int turns = 0;

	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(loop_guard(&loop, HANG_USEC), 0);
	ev_prepare_init(&count, idle);
	count.data = &turns;
	ev_prepare_start(loop.ev, &count);
	turns_usec = 100 * HANG_USEC;
	busy_usec = 0;
	loop_timer_init(&timer, &loop, on_turn, NULL);
	loop_timer_init(&end, &loop, on_end, NULL);
	loop_timer_set(&timer, 0);
	loop_timer_set(&end, 5 * HANG_USEC);
	loop_run(&loop);
	assert_true(turns <= 4);
	loop_unguard(&loop);
	loop_finish(&loop);
}

static char order[3];
static size_t told;

static void on_readable(struct loop_io *io)
{
	char c;

	assert_int_equal(read(io->fd, &c, 1), 1);
	order[told++] = 'i';
}

static void on_late(struct loop_timer *t)
{
	order[told++] = 't';
	loop_stop(&loop);
}

/* Who was away for longer than an answer may take finds both in one turn: the answer came. */
static void what_came_goes_before_the_time_that_is_over(void **state)
{
	struct loop_io io = {.fd = -1};
	int ends[2];

	told = 0;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(loop_init(&loop), 0);
	loop_timer_init(&timer, &loop, on_late, NULL);
	loop_timer_set(&timer, USEC_PER_MSEC);
	loop_io_start(&io, &loop, ends[0], on_readable, NULL);
	assert_int_equal(write(ends[1], "x", 1), 1);
	burn(5 * USEC_PER_MSEC);
	loop_run(&loop);
	assert_string_equal(order, "it");
	loop_io_finish(&io);
	close(ends[1]);
	loop_finish(&loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(turns_that_end_are_let_be),
		cmocka_unit_test(one_that_does_not_is_ended),
		cmocka_unit_test(stopped_is_not_hung),
		cmocka_unit_test(an_idle_loop_runs_nothing),
		cmocka_unit_test(what_came_goes_before_the_time_that_is_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
