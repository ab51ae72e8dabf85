/* sources: monitor/counters.c monitor/cause.c ipc */
#include "tests/unit/unit.h"

#include <string.h>

#include "monitor/cause.h"
#include "monitor/counters.h"

static void put(struct exit_record *r, enum exit_raw which, const char *text)
{
	size_t len = strlen(text) < RAW_BYTES ? strlen(text) : RAW_BYTES;

	memcpy(r->raw[which], text, len);
	r->raw_len[which] = (uint16_t)len;
}

static struct exit_record record(const char *memory, const char *cpu, const char *psi)
{
	struct exit_record r = {0};

	put(&r, RAW_MEM, memory);
	put(&r, RAW_CPU, cpu);
	put(&r, RAW_PRESSURE, psi);
	return r;
}

#define PSI                                                   \
	"some avg10=0.10 avg60=0.00 avg300=0.00 total=1234\n" \
	"full avg10=0.00 avg60=0.00 avg300=0.00 total=567\n"

static void of_v2(void **state)
{
	const struct exit_record r =
		record("low 0\nhigh 5\nmax 6\noom 2\noom_kill 1\noom_group_kill 0\n",
			"usage_usec 10\nuser_usec 5\nsystem_usec 5\nnr_periods 3\nnr_throttled 1\n"
			"throttled_usec 99\n",
			PSI);
	struct counters c;

	counters_parse(&c, &r);
	assert_int_equal(c.has, POST_MORTEM_EVENTS | POST_MORTEM_OOM_KILL | POST_MORTEM_PRESSURE |
					POST_MORTEM_THROTTLED);
	assert_int_equal(c.memory_high, 5);
	assert_int_equal(c.memory_max, 6);
	assert_int_equal(c.memory_oom, 2);
	assert_int_equal(c.memory_oom_kill, 1);
	assert_int_equal(c.memory_some_usec, 1234);
	assert_int_equal(c.memory_full_usec, 567);
	assert_int_equal(c.throttled_usec, 99);
}

static void of_v1(void **state)
{
	const struct exit_record r = record("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
		"nr_periods 0\nnr_throttled 0\nthrottled_time 7000\n", "");
	struct counters c;

	counters_parse(&c, &r);
	assert_int_equal(c.has, POST_MORTEM_OOM_KILL | POST_MORTEM_THROTTLED);
	assert_int_equal(c.memory_oom_kill, 3);
	assert_int_equal(c.throttled_usec, 7);
}

/* Whatever is cut off or wrong is not there, at every length; nothing is read behind the end. */
static void cut_anywhere(void **state)
{
	const char *memory = "low 0\nhigh 5\nmax 6\noom 2\noom_kill 12\n";
	const size_t whole = strlen(memory);

	for (size_t len = 0; len <= whole; len++) {
		struct exit_record r = record(memory, "throttled_usec", PSI);
		struct counters c;

		r.raw_len[RAW_MEM] = (uint16_t)len;
		r.raw_len[RAW_PRESSURE] = (uint16_t)(len % RAW_BYTES);
		counters_parse(&c, &r);
		assert_int_equal(!!(c.has & POST_MORTEM_OOM_KILL), len == whole);
		assert_int_equal(c.has & POST_MORTEM_THROTTLED, 0);
		assert_int_equal(c.has & POST_MORTEM_PRESSURE, 0);
		if (len == whole)
			assert_int_equal(c.memory_oom_kill, 12);
	}
}

static void hostile(void **state)
{
	struct exit_record r;
	struct counters c;

	memset(&r, 0xff, sizeof(r));
	counters_parse(&c, &r);
	assert_int_equal(c.has, 0);
	memset(r.raw, '9', sizeof(r.raw));
	counters_parse(&c, &r);
	assert_int_equal(c.has, 0);
}

static void what_was_added(void **state)
{
	const struct counters end = {.has = POST_MORTEM_EVENTS | POST_MORTEM_PRESSURE,
		.memory_high = 7,
		.memory_some_usec = 100};
	const struct counters before = {.has = POST_MORTEM_EVENTS, .memory_high = 3};
	struct counters c = counters_grown(&end, &before);

	assert_int_equal(c.has, POST_MORTEM_EVENTS);
	assert_int_equal(c.memory_high, 4);
	c = counters_grown(&before, &end); /* it can't shrink */
	assert_int_equal(c.memory_high, 0);
}

static void causes(void **state)
{
	static const struct {
		struct exit_info e;
		struct asked asked;
		const char *text, *by;
		struct rule_end rule;
	} table[] = {
		{{.run = 1}, {0}, "the service was done: exit code 0", ""},
		{{.run = 1, .code = 3}, {0}, "the service failed: exit code 3", ""},
		{{.run = 1, .signal = 11, .flags = EXIT_CORE}, {0},
			"the service crashed: killed by SIGSEGV, core dumped", ""},
		{{.run = 1, .signal = 9}, {0}, "somebody killed the service: killed by SIGKILL",
			""},
		{{.run = 1, .signal = 9, .flags = EXIT_OOM_SEEN}, {0},
			"the memory limit was reached: killed by SIGKILL", "the kernel"},
		{{.run = 1, .signal = 15, .flags = EXIT_STOPPED}, {CLIENT_STOP, 1},
			"a stop was asked for: killed by SIGTERM", "stop"},
		{{.run = 1, .signal = 15, .flags = EXIT_STOPPED}, {0},
			"a stop was asked for: killed by SIGTERM", "a signal to process 1"},
		{{.run = 2, .signal = 15}, {CLIENT_RESTART, 2},
			"a restart was asked for: killed by SIGTERM", "restart"},
		{{.run = 3, .code = 1}, {CLIENT_RESTART, 2}, "the service failed: exit code 1", ""},
		{{.run = 1, .code = 127, .errnum = 2, .flags = EXIT_START_FAILED}, {0},
			"the start failed: could not be started: No such file or directory", ""},
		{{.run = 1, .signal = 9, .flags = EXIT_INFERRED}, {0},
			"process 1 or the supervisors died: killed by SIGKILL", ""},
		{{.run = 1, .flags = EXIT_INFERRED | EXIT_UNKNOWN}, {0},
			"process 1 or the supervisors died: nobody saw how", ""},
		{{.run = 1, .signal = 9, .flags = EXIT_OOM_SEEN | EXIT_OOM_GROUP | EXIT_OOM_HOST},
			{0},
			"the host, or a group around the container, ran out of memory: killed by SIGKILL",
			"the kernel"},
		{{.run = 1, .signal = 9, .flags = EXIT_OOM_SEEN | EXIT_OOM_GROUP}, {0},
			"a group around the container ran out of memory: killed by SIGKILL",
			"the kernel"},
		{{.run = 1, .signal = 9, .flags = EXIT_OOM_SEEN | EXIT_OOM_HOST}, {0},
			"the host ran out of memory: killed by SIGKILL", "the kernel"},
		{{.run = 1, .signal = 9, .flags = EXIT_OOM_SEEN | EXIT_OOM_OWN | EXIT_GROUP_KILLED},
			{0},
			"the memory limit was reached: killed by SIGKILL, the rest killed as well",
			"the kernel"},
		{{.run = 1,
			 .signal = 9,
			 .flags = EXIT_OOM_SEEN | EXIT_OOM_OWN | EXIT_OOM_OTHERS |
				  EXIT_GROUP_KILLED},
			{0},
			"the memory limit was reached: killed by SIGKILL, the rest killed as well",
			"--oom-policy"},
		{{.run = 1, .signal = 9, .flags = EXIT_OOM_SEEN | EXIT_OOM_OWN | EXIT_OOM_OTHERS},
			{0}, "somebody killed the service: killed by SIGKILL", ""},
		{{.run = 2, .code = 0}, {CLIENT_RESTART, 2},
			"memory.usage 83%, above 80%: exit code 0", "rule leak",
			{.run = 2, .rule = "leak", .why = "memory.usage 83%, above 80%"}},
		{{.run = 3, .code = 1}, {0}, "the service failed: exit code 1", "",
			{.run = 2, .rule = "leak", .why = "memory.usage 83%, above 80%"}},
	};
	struct cause c;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct ending end = {
			.e = table[i].e, .asked = table[i].asked, .rule = table[i].rule};

		cause_of(&c, &end);
		assert_string_equal(c.text, table[i].text);
		assert_string_equal(c.by, table[i].by);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(of_v2),
		cmocka_unit_test(of_v1),
		cmocka_unit_test(cut_anywhere),
		cmocka_unit_test(hostile),
		cmocka_unit_test(what_was_added),
		cmocka_unit_test(causes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
