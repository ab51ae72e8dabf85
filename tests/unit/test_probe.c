/* sources: monitor/probe.c monitor/http_status.c ipc */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/base/mem.h"
#include "monitor/http_status.h"
#include "monitor/probe.h"

/* The rule in other words: a standing changes when the newest results, as many as the threshold,
 * are all of the other kind; failures within the grace are no results until it has passed. */
static uint32_t model(const struct probe_conf *c, const bool *good, const uint64_t *at, unsigned n)
{
	uint32_t standing = PROBE_STARTING;
	unsigned row = 0;
	bool kind = true;

	for (unsigned i = 0; i < n; i++) {
		if (!good[i] && standing == PROBE_STARTING && at[i] < c->grace_usec) {
			row = kind ? 0 : row;
			continue;
		}
		row = row && kind == good[i] ? row + 1 : 1;
		kind = good[i];
		if (kind && row >= c->successes)
			standing = PROBE_PASSING;
		if (!kind && row >= c->failures)
			standing = PROBE_FAILING;
	}
	return standing;
}

#define LENGTH 9u

/* Every sequence of results up to a length, for every threshold up to 4, with and without grace. */
static void test_every_sequence(void **state)
{
	for (uint32_t bits = 0; bits < 1u << LENGTH; bits++)
		for (uint32_t t = 0; t < 4 * 4 * 3; t++) {
			struct probe_conf c = {.failures = 1 + t % 4,
				.successes = 1 + t / 4 % 4,
				.grace_usec = t / 16 * 4};
			struct probe_state s = {0};
			bool good[LENGTH];
			uint64_t at[LENGTH];

			for (unsigned i = 0; i < LENGTH; i++) {
				uint32_t was = s.standing;
				enum probe_change change;

				good[i] = bits >> i & 1;
				at[i] = i;
				change = probe_result(&c, &s, good[i], at[i]);
				assert_int_equal(s.standing, model(&c, good, at, i + 1));
				assert_int_equal(change != PROBE_SAME, s.standing != was);
				if (change != PROBE_SAME)
					assert_int_equal(change == PROBE_NOW_PASSING,
						s.standing == PROBE_PASSING);
				assert_int_equal(s.passed + s.failed, i + 1);
			}
		}
}

static void test_counts_do_not_wrap(void **state)
{
	struct probe_conf c = {.failures = 3, .successes = 1};
	struct probe_state s = {.standing = PROBE_FAILING, .bad = UINT32_MAX};

	assert_int_equal(probe_result(&c, &s, false, 0), PROBE_SAME);
	assert_int_equal(s.bad, UINT32_MAX);
	s.standing = 77; /* not of ours */
	assert_int_equal(probe_result(&c, &s, true, 0), PROBE_NOW_PASSING);
}

static void test_reset_keeps_totals(void **state)
{
	struct probe_conf c = {.failures = 1, .successes = 1, .delay_usec = 7};
	struct probe_state s = {.standing = PROBE_FAILING,
		.bad = 3,
		.passed = 5,
		.failed = 6,
		.exec = 9,
		.began = 1,
		.why = "x"};

	probe_reset(&c, &s, 100);
	assert_int_equal(s.standing, PROBE_STARTING);
	assert_int_equal(s.next, 107);
	assert_true(s.passed == 5 && s.failed == 6 && !s.bad && !s.exec && !s.began && !s.why[0]);
}

/* All kinds x standings of two probes. */
static void test_what_they_say_together(void **state)
{
	for (uint32_t n = 0; n < PROBE_KINDS * PROBE_KINDS * 9; n++) {
		struct health_conf c = {.count = 2};
		struct health_state s = {0};
		bool failing = false, starting = false, any = false, ready = true, held = false;

		c.probes[0].kind = n % PROBE_KINDS;
		c.probes[1].kind = n / PROBE_KINDS % PROBE_KINDS;
		s.probes[0].standing = n / 16 % 3;
		s.probes[1].standing = n / 48;
		for (int i = 0; i < 2; i++) {
			uint32_t kind = c.probes[i].kind, is = s.probes[i].standing;

			any |= kind != PROBE_READINESS;
			failing |= kind != PROBE_READINESS && is == PROBE_FAILING;
			starting |= kind != PROBE_READINESS && is == PROBE_STARTING;
			ready &= (kind != PROBE_READINESS && kind != PROBE_STARTUP) ||
				 is == PROBE_PASSING;
			held |= kind == PROBE_STARTUP && is != PROBE_PASSING;
			assert_int_equal(probe_done(&c.probes[i], &s.probes[i]),
				kind == PROBE_STARTUP && is != PROBE_STARTING);
			assert_int_equal(probe_restarts(&c.probes[i]),
				kind == PROBE_STARTUP || kind == PROBE_LIVENESS);
		}
		assert_int_equal(probe_verdict(&c, &s), !any	   ? HEALTH_NONE
							: failing  ? HEALTH_UNHEALTHY
							: starting ? HEALTH_STARTING
								   : HEALTH_HEALTHY);
		assert_int_equal(probe_ready(&c, &s), ready);
		for (uint32_t i = 0; i < 2; i++)
			assert_int_equal(probe_held_back(&c, &s, i),
				c.probes[i].kind != PROBE_STARTUP && held);
	}
}

static int status_of(const char *text)
{
	size_t len = strlen(text);
	auto_free char *copy = malloc(len ? len : 1);

	memcpy(copy, text, len);
	return http_status(copy, len);
}

static void test_http_status(void **state)
{
	static const char answer[] = "HTTP/1.1 204 No Content\r\n";
	static const char *const others[] = {"HTTP/2 200 OK", "HTTP/1.x 200 ", "SSH-2.0-x", "X",
		"HTTP/1.1  200", "HTTP/1.1 20 OK", "HTTP/1.1 2000 ", "HTTP/1.1 2x0 ", "\r\n", "h"};
	char text[sizeof(answer)];

	for (size_t n = 0; n < sizeof(answer); n++) {
		snprintf(text, sizeof(text), "%.*s", (int)n, answer);
		assert_int_equal(status_of(text), n < HTTP_STATUS_BYTES ? 0 : 204);
	}
	assert_int_equal(status_of("HTTP/1.0 503\r\n"), 503);
	assert_int_equal(status_of("HTTP/1.1 999\n"), 999);
	for (size_t i = 0; i < array_size(others); i++)
		assert_int_equal(status_of(others[i]), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_sequence),
		cmocka_unit_test(test_counts_do_not_wrap),
		cmocka_unit_test(test_reset_keeps_totals),
		cmocka_unit_test(test_what_they_say_together),
		cmocka_unit_test(test_http_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
