/* sources: init/ring.c */
/* The exit ring with and without a supervisor that acknowledges: nothing overwritten, all counted.
 */
#include "init/ring.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/unit.h"

struct ring {
	struct shared shared;
	int fd;
};

static struct ring ring_new(void)
{
	struct ring r = {.fd = memfd_create("ring", MFD_CLOEXEC)};

	assert_true(r.fd >= 0);
	assert_int_equal(ftruncate(r.fd, SHARED_SIZE), 0);
	return r;
}

static void put(struct ring *r, uint32_t code)
{
	struct exit_record rec = {.kind = EXIT_SERVICE, .code = code, .boot_start = code + 1};

	ring_write(&r->shared, r->fd, &rec);
}

static struct exit_record get(struct ring *r, uint64_t seq)
{
	struct exit_record rec;

	assert_int_equal(pread(r->fd, &rec, sizeof(rec), (off_t)shared_slot(seq)), sizeof(rec));
	assert_int_equal(rec.sum, exit_sum(&rec));
	assert_int_equal(rec.seq, seq);
	return rec;
}

static uint64_t counted(struct ring *r)
{
	uint64_t n = 0;

	for (uint64_t seq = r->shared.acked + 1; seq <= r->shared.head; seq++)
		n += get(r, seq).count;
	return n;
}

static void test_one_record_per_exit(void **unused)
{
	struct ring r = ring_new();

	for (uint32_t i = 1; i <= 1000; i++) {
		put(&r, i);
		assert_int_equal(r.shared.head, i);
		assert_int_equal(get(&r, i).code, i);
		assert_int_equal(get(&r, i).count, 1);
		ring_ack(&r.shared, r.fd, i, 0);
	}
	close(r.fd);
}

static void test_same_exits_are_counted_when_full(void **unused)
{
	struct ring r = ring_new();

	for (int i = 0; i < 61; i++)
		put(&r, 3);
	assert_false(ring_fills(&r.shared));
	put(&r, 3);
	assert_false(ring_full(&r.shared));
	assert_true(ring_fills(&r.shared)); /* the run after the next exit waits already */
	put(&r, 3);
	assert_true(ring_full(&r.shared));
	for (int i = 0; i < 100; i++)
		put(&r, 3);
	assert_int_equal(r.shared.head, 63);
	assert_int_equal(get(&r, 63).count, 101);
	assert_int_equal(counted(&r), 163);
	close(r.fd);
}

static void test_other_exits_become_one_gap(void **unused)
{
	struct ring r = ring_new();

	for (uint32_t i = 1; i <= 200; i++)
		put(&r, i);
	assert_int_equal(r.shared.head, EXIT_SLOTS);
	assert_int_equal(get(&r, 63).kind, EXIT_SERVICE);
	assert_int_equal(get(&r, 64).kind, EXIT_GAP);
	assert_int_equal(get(&r, 64).count, 137);
	assert_int_equal(get(&r, 64).code, 200); /* the newest status is kept */
	assert_int_equal(counted(&r), 200);
	close(r.fd);
}

static void test_acknowledgement_makes_room_again(void **unused)
{
	struct ring r = ring_new();

	for (uint32_t i = 1; i <= 100; i++)
		put(&r, i);
	ring_ack(&r.shared, r.fd, 10, 0);
	put(&r, 500);
	assert_int_equal(r.shared.head, 65);
	assert_int_equal(get(&r, 65).kind, EXIT_SERVICE);
	assert_int_equal(get(&r, 64).kind, EXIT_GAP);
	close(r.fd);
}

static void test_amended_until_acknowledged(void **unused)
{
	struct ring r = ring_new();
	struct exit_record rec = {.kind = EXIT_SERVICE, .code = 1, .verdict = 2};

	ring_write(&r.shared, r.fd, &rec);
	rec.verdict = 1;
	assert_true(ring_amend(&r.shared, r.fd, &rec));
	assert_int_equal(r.shared.head, 1);
	assert_int_equal(get(&r, 1).verdict, 1);
	assert_int_equal(get(&r, 1).count, 1);
	rec.verdict = 2;
	ring_ack(&r.shared, r.fd, 1, 0);
	assert_false(ring_amend(&r.shared, r.fd, &rec));
	assert_int_equal(get(&r, 1).verdict, 1);
	put(&r, 5);
	assert_false(ring_amend(&r.shared, r.fd, &rec)); /* not the newest any more */
	assert_int_equal(get(&r, 2).code, 5);
	close(r.fd);
}

static void test_wrong_acknowledgements(void **unused)
{
	struct ring r = ring_new();

	put(&r, 1);
	put(&r, 2);
	ring_ack(&r.shared, r.fd, 3, 0);
	assert_int_equal(r.shared.acked, 0);
	ring_ack(&r.shared, r.fd, UINT64_MAX, 0);
	assert_int_equal(r.shared.acked, 0);
	ring_ack(&r.shared, r.fd, 2, 0);
	ring_ack(&r.shared, r.fd, 1, 0);
	assert_int_equal(r.shared.acked, 2);
	close(r.fd);
}

static void test_what_comes_before_the_word_is_a_record_of_its_own(void **unused)
{
	struct ring r = ring_new();

	for (int i = 0; i < 70; i++)
		put(&r, 3);
	assert_int_equal(get(&r, 63).count, 8);
	put(&r, 3); /* its reader has seen the one before */
	assert_true(ring_ack(&r.shared, r.fd, 63, 8));
	assert_int_equal(r.shared.acked, 63);
	assert_int_equal(r.shared.head, 64);
	assert_int_equal(get(&r, 64).count, 1);
	assert_false(ring_ack(&r.shared, r.fd, 64, 1));
	assert_false(ring_ack(&r.shared, r.fd, 64, 1)); /* as a successor says it again */
	assert_int_equal(r.shared.head, 64);
	close(r.fd);
}

static void test_a_kill_of_another_takes_no_place_of_an_exit(void **unused)
{
	struct ring r = ring_new();
	struct exit_record kill = {.kind = EXIT_OOM, .oom_kills = 1};

	for (int i = 0; i < 63; i++)
		put(&r, 3);
	ring_write(&r.shared, r.fd, &kill);
	put(&r, 4);
	assert_int_equal(get(&r, 64).kind, EXIT_GAP);
	ring_write(&r.shared, r.fd, &kill);
	assert_int_equal(get(&r, 64).code, 4);
	assert_int_equal(counted(&r), 64);
	close(r.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_comes_before_the_word_is_a_record_of_its_own),
		cmocka_unit_test(test_a_kill_of_another_takes_no_place_of_an_exit),
		cmocka_unit_test(test_one_record_per_exit),
		cmocka_unit_test(test_same_exits_are_counted_when_full),
		cmocka_unit_test(test_other_exits_become_one_gap),
		cmocka_unit_test(test_acknowledgement_makes_room_again),
		cmocka_unit_test(test_amended_until_acknowledged),
		cmocka_unit_test(test_wrong_acknowledgements),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
