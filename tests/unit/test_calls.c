/* sources: shim/calls.c ipc */
/* The table of calls: who gets room in it, and what a successor believes. */
#include "tests/unit/unit.h"

#include <string.h>

#include "shim/calls.h"

static int begin(void **state)
{
	static struct calls c;
	bool inherited;

	c = (struct calls){.fd = -1};
	assert_int_equal(calls_open(&c, -1, &inherited), 0);
	assert_false(inherited);
	*state = &c;
	return 0;
}

static int end(void **state)
{
	calls_close(*state);
	return 0;
}

static unsigned fill(struct calls *c, uint64_t conn)
{
	unsigned n = 0;

	while (calls_add(c, conn, 2 * n + 1, CALL_WATCH, NULL))
		n++;
	return n;
}

static void one_client_does_not_get_it_all(void **state)
{
	struct calls *c = *state;

	assert_non_null(calls_conn(c, 1));
	assert_int_equal(fill(c, 1), CALLS_A_CONN);
	assert_non_null(calls_conn(c, 2));
	assert_non_null(calls_add(c, 2, 1, CALL_WAIT, NULL));
}

static void observers_leave_room(void **state)
{
	struct calls *c = *state;
	unsigned all = 0;

	for (uint64_t id = 1; id < 20; id++) {
		calls_conn(c, id)->flags = CONN_OBSERVE;
		all += fill(c, id);
	}
	assert_int_equal(all, CALLS_MAX - CALLS_KEPT);
	calls_conn(c, 50);
	assert_int_equal(fill(c, 50), CALLS_KEPT);
	assert_null(calls_add(c, 50, 999, CALL_WAIT, NULL));
	calls_conn_drop(c, 3);
	assert_int_equal(fill(c, 50), 0); /* it has as many as one may */
	calls_conn(c, 51);
	assert_int_equal(fill(c, 51), CALLS_MAX - CALLS_KEPT - 2 * CALLS_A_CONN);
}

static void what_was_only_begun_is_dropped(void **state)
{
	struct calls *c = *state;
	struct call_conn *conn = calls_conn(c, 7);
	struct call *whole = calls_add(c, 7, 3, CALL_WATCH, NULL),
		    *begun = calls_add(c, 7, 5, CALL_ASK, NULL);
	struct call *other = calls_add(c, 8, 9, CALL_WATCH, NULL);

	conn->last_stream = 3;
	calls_settle_begun(c, conn);
	assert_int_equal(whole->conn, 7);
	assert_int_equal(begun->conn, 0);
	assert_int_equal(other->conn, 8);
}

static void what_init_may_have_heard_counts(void **state)
{
	struct calls *c = *state;
	struct call_conn *conn = calls_conn(c, 7);
	struct call *asked = calls_add(c, 7, 5, CALL_ASK, NULL);

	conn->last_stream = 3;
	asked->ask.verb = 1;
	calls_settle_begun(c, conn);
	assert_int_equal(asked->conn, 7);
	assert_int_equal(conn->last_stream, 5);
}

static void who_is_full_is_told(void **state)
{
	struct calls *c = *state;
	const char *why;

	calls_conn(c, 1);
	fill(c, 1);
	assert_null(calls_add(c, 1, 999, CALL_WAIT, &why));
	assert_non_null(strstr(why, "64 calls are under way on this connection"));
	for (uint64_t id = 2; id < 5; id++) {
		calls_conn(c, id)->flags = CONN_OBSERVE;
		fill(c, id);
	}
	assert_null(calls_add(c, 4, 999, CALL_WAIT, &why));
	assert_non_null(strstr(why, "observe"));
	calls_conn(c, 6);
	assert_non_null(calls_add(c, 6, 1, CALL_WAIT, &why));
	assert_null(why);
	assert_int_equal(calls_count(c, CALL_WATCH, false), CALLS_MAX - CALLS_KEPT);
	assert_int_equal(calls_count(c, CALL_WATCH, true), CALLS_MAX - CALLS_KEPT - CALLS_A_CONN);
}

static void the_next_deadline(void **state)
{
	struct calls *c = *state;

	assert_int_equal(calls_deadline(c, 0), 0);
	calls_conn(c, 1);
	calls_add(c, 1, 1, CALL_WAIT, NULL)->deadline = 300;
	calls_add(c, 1, 3, CALL_WAIT, NULL)->deadline = 200;
	calls_add(c, 1, 5, CALL_WAIT, NULL);
	assert_int_equal(calls_deadline(c, 0), 200);
	assert_int_equal(calls_deadline(c, 200), 300); /* what has passed waits for its client */
	assert_int_equal(calls_deadline(c, 300), 0);
}

/* A request that stays in its socket finds what was done of it; one that waits begins anew. */
static void what_comes_again_is_found(void **state)
{
	static const enum call_method stay[] = {
		CALL_EXEC, CALL_EXEC_END, CALL_KILL_EXEC, CALL_STDIN};
	static const enum call_method go[] = {CALL_WAIT_EXEC, CALL_ATTACH, CALL_START};
	struct calls *c = *state;
	struct call_conn *conn = calls_conn(c, 7);

	for (size_t i = 0; i < sizeof(stay) / sizeof(stay[0]); i++)
		assert_non_null(calls_add(c, 7, (uint32_t)(3 + 2 * i), stay[i], NULL));
	for (size_t i = 0; i < sizeof(go) / sizeof(go[0]); i++)
		assert_non_null(calls_add(c, 7, (uint32_t)(103 + 2 * i), go[i], NULL));
	conn->last_stream = 1;
	calls_settle_begun(c, conn);
	for (size_t i = 0; i < sizeof(stay) / sizeof(stay[0]); i++) {
		const struct call *call = calls_find(c, 7, (uint32_t)(3 + 2 * i));

		assert_non_null(call);
		assert_int_equal(call->method, stay[i]);
	}
	for (size_t i = 0; i < sizeof(go) / sizeof(go[0]); i++)
		assert_null(calls_find(c, 7, (uint32_t)(103 + 2 * i)));
	assert_null(calls_find(c, 8, 3));
}

/* Of one connection and of all; a call that is dropped leaves its place. */
static void chunks_that_wait_are_bounded(void **state)
{
	struct calls *c = *state;
	struct call *call[CALLS_CHUNKS + 1];
	unsigned n = 0;

	for (uint64_t id = 1; n < CALLS_CHUNKS; id++) {
		calls_conn(c, id);
		for (unsigned i = 0; i <= CALLS_CHUNKS_A_CONN; i++) {
			struct call *one = calls_add(c, id, 2 * i + 1, CALL_STDIN, NULL);

			assert_int_equal(
				calls_keep_chunk(c, one, &n, sizeof(n)), i < CALLS_CHUNKS_A_CONN);
			if (i < CALLS_CHUNKS_A_CONN)
				call[n++] = one;
			else
				calls_drop(one);
		}
	}
	calls_conn(c, 99);
	call[n] = calls_add(c, 99, 1, CALL_STDIN, NULL);
	assert_false(calls_keep_chunk(c, call[n], &n, sizeof(n)));
	assert_null(calls_chunk(c, call[n]));
	for (unsigned i = 0; i < n; i++) {
		assert_memory_equal(calls_chunk(c, call[i]), &i, sizeof(i));
		assert_true(i == 0 || call[i]->in.turn > call[i - 1]->in.turn);
	}
	calls_forget_chunk(c, call[7]);
	calls_drop(call[7]);
	assert_true(calls_keep_chunk(c, call[n], "again", 6));
	assert_string_equal(calls_chunk(c, call[n]), "again");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(chunks_that_wait_are_bounded, begin, end),
		cmocka_unit_test_setup_teardown(one_client_does_not_get_it_all, begin, end),
		cmocka_unit_test_setup_teardown(observers_leave_room, begin, end),
		cmocka_unit_test_setup_teardown(what_was_only_begun_is_dropped, begin, end),
		cmocka_unit_test_setup_teardown(what_init_may_have_heard_counts, begin, end),
		cmocka_unit_test_setup_teardown(who_is_full_is_told, begin, end),
		cmocka_unit_test_setup_teardown(the_next_deadline, begin, end),
		cmocka_unit_test_setup_teardown(what_comes_again_is_found, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
