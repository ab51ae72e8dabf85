/* sources: shim/pressure_feed.c ipc ev */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "shim/shim.h"

/* The keeper, as far as it is asked. */
static uint64_t held[64];
static unsigned holds;

void link_keeper_hold(struct shim *s, enum held_kind kind, uint64_t key, int fd)
{
	assert_int_equal(kind, HELD_PRESSURE_CONN);
	held[holds++ % 64] = key;
}

void link_keeper_drop(struct shim *s, enum held_kind kind, uint64_t key)
{
	for (unsigned i = 0; kind == HELD_PRESSURE_CONN && i < 64; i++)
		if (held[i] == key)
			held[i] = 0;
}

/* PID 1 has the same; what an adopter makes of that is another test's. */
void link_init_keep(struct shim *s, enum held_kind kind, uint64_t key, int fd)
{
	assert_true(kind == HELD_PRESSURE_CONN && fd >= 0);
}

void link_init_unkeep(struct shim *s, enum held_kind kind, uint64_t key)
{
	assert_int_equal(kind, HELD_PRESSURE_CONN);
}

static unsigned now_held(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < 64; i++)
		n += held[i] != 0;
	return n;
}

static int address(uint64_t kind, struct sockaddr_un *a)
{
	*a = (struct sockaddr_un){.sun_family = AF_UNIX};
	return 1 + (int)offsetof(struct sockaddr_un, sun_path) +
	       snprintf(a->sun_path + 1, 60, "holdfast-unit-%d-%d", getpid(), (int)kind);
}

static struct shim *shim_with_listeners(void)
{
	struct shim *s = calloc(1, sizeof(*s));
	struct sockaddr_un a;

	assert_int_equal(loop_init(&s->loop), 0);
	for (uint64_t kind = 0; kind < PRESSURE_OF; kind++) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

		assert_int_equal(bind(fd, (struct sockaddr *)&a, (socklen_t)address(kind, &a)), 0);
		assert_int_equal(listen(fd, 64), 0);
		pressure_held(s, kind, fd);
	}
	memset(held, 0, sizeof(held));
	holds = 0;
	return s;
}

static void turn(struct shim *s)
{
	for (int i = 0; i < 3; i++)
		ev_run(s->loop.ev, EVRUN_NOWAIT);
}

static int come(struct shim *s, uint64_t kind)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_un a;

	assert_int_equal(connect(fd, (struct sockaddr *)&a, (socklen_t)address(kind, &a)), 0);
	assert_int_equal(write(fd, "some 200000 2000000", 20), 20);
	turn(s);
	return fd;
}

static ssize_t told(int fd)
{
	char bytes[64];
	ssize_t n = read(fd, bytes, sizeof(bytes));

	return n < 0 ? -errno : n;
}

static void finish(struct shim *s)
{
	pressure_end(s);
	assert_int_equal(now_held(), 0);
	loop_finish(&s->loop);
	free(s->pressure.conns);
	free(s);
}

static void test_who_asked_is_told(void **state)
{
	struct shim *s = shim_with_listeners();
	int memory = come(s, PRESSURE_OF_MEMORY), other = come(s, PRESSURE_OF_MEMORY);
	int io = come(s, PRESSURE_OF_IO);

	assert_int_equal(now_held(), 3);
	assert_int_equal(told(memory), -EAGAIN);
	pressure_feed(s, PRESSURE_OF_MEMORY);
	pressure_feed(s, PRESSURE_OF_CPU);
	assert_int_equal(told(memory), 1);
	assert_int_equal(told(other), 1);
	assert_int_equal(told(io), -EAGAIN);
	close(other);
	turn(s);
	assert_int_equal(now_held(), 2);
	pressure_feed(s, PRESSURE_OF_MEMORY);
	pressure_feed(s, PRESSURE_OF_IO);
	assert_int_equal(told(memory), 1);
	assert_int_equal(told(io), 1);
	finish(s);
	assert_int_equal(told(memory), 0); /* the end of it */
	close(memory);
	close(io);
}

/* A new shim is given what the old one had, and a number that is given is not given again. */
static void test_over_a_shim(void **state)
{
	struct shim *s = shim_with_listeners();
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	held[0] = 7 << 8 | PRESSURE_OF_CPU;
	holds = 1;
	pressure_conn_held(s, held[0], ends[0]);
	close(come(s, PRESSURE_OF_MEMORY));
	assert_int_equal(held[1], 8 << 8 | PRESSURE_OF_MEMORY);
	pressure_feed(s, PRESSURE_OF_CPU);
	assert_int_equal(told(ends[1]), 1);
	close(ends[1]);
	finish(s);
}

/* Nobody reads: nothing grows, nothing blocks. Too many: the oldest goes. */
static void test_bounds(void **state)
{
	struct shim *s = shim_with_listeners();
	int fds[PRESSURE_CONNS + 4];

	for (unsigned i = 0; i < PRESSURE_CONNS + 4; i++)
		fds[i] = come(s, PRESSURE_OF_MEMORY);
	assert_int_equal(now_held(), PRESSURE_CONNS);
	for (int n = 0; n < 100000; n++)
		pressure_feed(s, PRESSURE_OF_MEMORY);
	for (unsigned i = 0; i < PRESSURE_CONNS + 4; i++) {
		assert_int_equal(told(fds[i]) > 0, i >= 4);
		close(fds[i]);
	}
	turn(s);
	assert_int_equal(now_held(), 0);
	finish(s);
}

static void test_who_says_too_much_is_dropped(void **state)
{
	struct shim *s = shim_with_listeners();
	int fd = come(s, PRESSURE_OF_CPU);
	char bytes[4096] = {0};

	assert_int_equal(now_held(), 1);
	assert_int_equal(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
	for (int i = 0; i < 40; i++)
		turn(s);
	assert_int_equal(now_held(), 0);
	close(fd);
	finish(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_asked_is_told),
		cmocka_unit_test(test_over_a_shim),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_who_says_too_much_is_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
