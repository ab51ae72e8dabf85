/* sources: monitor/rule_text.c monitor/rule_print.c monitor/rule_file.c monitor/rules.c */
/* sources: monitor/signals.c ipc */
/* What a rule may say, what it means, and how it is refused. */
#include "monitor/rule_text.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/mem.h"
#include "tests/unit/unit.h"

#define S 1000000ULL

static struct rule parsed(const char *text)
{
	struct rule r;

	if (rule_parse("--rule", text, &r) < 0)
		fail_msg("%s", fault_text());
	return r;
}

static void test_everything_at_once(void **unused)
{
	struct rule r = parsed("leak: memory.usage >= 90.5% for 5s: notify(USR1), 10s, throttle, "
			       "20s,restart(3s) ;cooldown 1m; clear 70%; limit 3/1h");

	assert_string_equal(r.name, "leak");
	assert_int_equal(r.signal, SIGNAL_MEMORY_USAGE);
	assert_true(r.or_equal);
	assert_int_equal(r.threshold, 9050);
	assert_int_equal(r.clear, 7000);
	assert_int_equal(r.for_usec, 5 * S);
	assert_int_equal(r.cooldown_usec, 60 * S);
	assert_int_equal(r.limit_n, 3);
	assert_int_equal(r.limit_usec, 3600 * S);
	assert_int_equal(r.steps_len, 3);
	assert_int_equal(r.steps[0].action, ACTION_NOTIFY);
	assert_int_equal(r.steps[0].arg, 10);
	assert_int_equal(r.steps[1].action, ACTION_THROTTLE);
	assert_int_equal(r.steps[1].pause_usec, 10 * S);
	assert_int_equal(r.steps[2].action, ACTION_RESTART);
	assert_int_equal(r.steps[2].arg, 3 * S);
	assert_int_equal(r.steps[2].pause_usec, 20 * S);
}

static void test_what_is_not_said(void **unused)
{
	struct rule r = parsed("p: memory.pressure.full > 20%: event");

	assert_int_equal(r.window_usec, 2 * S);
	assert_int_equal(r.for_usec, 0);
	assert_int_equal(r.clear, 1800);
	assert_int_equal(r.cooldown_usec, 60 * S);
	r = parsed("h: health.failing for 10s: restart");
	assert_int_equal(r.threshold, 0);
	assert_int_equal(r.steps[0].arg, RULE_GRACE_STD);
	r = parsed("o: output > 1.5M/s over 4s: dump(/usr/bin/hook), freeze(2s)");
	assert_int_equal(r.threshold, 3u << 19);
	assert_int_equal(r.window_usec, 4 * S);
	assert_string_equal(r.hook, "/usr/bin/hook");
}

static void test_printed_and_read_again(void **unused)
{
	static const char *const texts[] = {
		"a: memory.usage > 90%: event",
		"b-1.x: cpu.pressure.some >= 12.34% over 1500ms for 250us: dump(/h), 1h, stop(7s)",
		"c: pids.max > 3 over 5s: freeze(1500ms), kill; limit 2/90s; clear 1",
		"d: output > 1000000/s: notify(RTMIN+3), throttle(25%), restart; cooldown 36m",
		"e: watchdog.missed: restart(60s); cooldown 2m",
	};
	char once[RULE_TEXT_MAX], twice[RULE_TEXT_MAX];

	for (size_t i = 0; i < array_size(texts); i++) {
		struct rule r = parsed(texts[i]), again;

		rule_print(&r, once, sizeof(once));
		again = parsed(once);
		rule_print(&again, twice, sizeof(twice));
		assert_string_equal(once, twice);
		assert_memory_equal(&r, &again, sizeof(r));
	}
}

static void test_refusals(void **unused)
{
	static const struct {
		const char *text, *word;
	} table[] = {
		{"", "a rule has a name"},
		{"x", "a colon follows"},
		{"x memory.usage > 1%: event", "a colon follows"},
		{"a/b: memory.usage > 1%: event", "letters, digits"},
		{"x: memory.size > 1%: event", "use memory.pressure.some, memory.pressure.full"},
		{"x: memory.usage: event", "no threshold"},
		{"x: output: event", "no threshold"},
		{"x: memory.usage > 90: event", "not a share"},
		{"x: memory.usage > 101%: event", "not a share"},
		{"x: memory.usage > 9.123%: event", "not a share"},
		{"x: memory.usage > %: event", "not a share"},
		{"x: pids.max > many: event", "not a number of times"},
		{"x: output > fast: event", "not a rate"},
		{"x: memory.usage > 90% over 2s: event", "over no time"},
		{"x: cpu.throttled > 90% over 0s: event", "a window of no time"},
		{"x: cpu.throttled > 90% for ever: event", "not a time"},
		{"x: memory.usage > 90%", "a colon and what to do"},
		{"x: memory.usage > 90%:", "no such action"},
		{"x: memory.usage > 90%: explode", "use event, notify"},
		{"x: memory.usage > 90%: 10s, event", "not an action"},
		{"x: memory.usage > 90%: event, 10s", "nothing after it"},
		{"x: memory.usage > 90%: event, 1s, 1s, event", "not an action"},
		{"x: memory.usage > 90%: event notify", "unexpected"},
		{"x: memory.usage > 90%: notify(NOPE)", "no such signal"},
		{"x: memory.usage > 90%: notify(", "not closed"},
		{"x: memory.usage > 90%: notify()", "not closed, or empty"},
		{"x: memory.usage > 90%: event(1)", "nothing in parentheses"},
		{"x: memory.usage > 90%: throttle(99%)", "5% to 95%"},
		{"x: memory.usage > 90%: freeze(2h)", "up to 60s"},
		{"x: memory.usage > 90%: dump(hook)", "absolute path"},
		{"x: memory.usage > 90%: dump(/a), dump(/b)", "one hook"},
		{"x: memory.usage > 90%: dump(/a(b)", "without blanks or parentheses"},
		{"x: memory.usage > 90%: restart(soon)", "not a time"},
		{"x: memory.usage > 90%: restart, event", "nothing can follow"},
		{"x: memory.usage > 90%: event, event, event, event, event, event, event, event, event",
			"more than 8"},
		{"x: memory.usage > 90%: restart(2m); cooldown 1m", "longer than the cooldown"},
		{"x: memory.usage > 90%: stop(2m)", "longer than the cooldown"},
		{"x: memory.usage > 90%: event; cooldown", "not a time"},
		{"x: memory.usage > 90%: event; clear 95%", "above the threshold"},
		{"x: memory.usage > 90%: event; limit 3", "N/TIME"},
		{"x: memory.usage > 90%: event; limit 0/1h", "1 to 16"},
		{"x: memory.usage > 90%: event; wait 3", "no such word"},
		{"x: memory.usage > 90%: event;", "no such word"},
	};
	struct rule r;

	for (size_t i = 0; i < array_size(table); i++) {
		assert_true(rule_parse("--rule", table[i].text, &r) < 0);
		if (!strstr(fault_text(), table[i].word) || strncmp(fault_text(), "--rule \"", 8))
			fail_msg("%s: %s", table[i].text, fault_text());
	}
}

static void test_words(void **unused)
{
	struct rule r = parsed("x: memory.usage > 80% for 1s: notify(USR1), restart");
	char text[128];

	rule_why(&r, 8350, text, sizeof(text));
	assert_string_equal(text, "memory.usage 83.50%, above 80% for 1s");
	rule_step_text(&r, 0, text, sizeof(text));
	assert_string_equal(text, "notify(SIGUSR1)");
	rule_step_text(&r, 1, text, sizeof(text));
	assert_string_equal(text, "restart");
	r = parsed("x: health.failing for 2s: restart");
	rule_why(&r, 1, text, sizeof(text));
	assert_string_equal(text, "health.failing for 2s");
}

static void test_presets_and_lists(void **unused)
{
	static const char *const names[] = {"web", "database", "batch"};
	struct rules all = {0};
	struct rule one = parsed("mine: memory.usage > 90%: event");

	for (size_t i = 0; i < array_size(names); i++)
		if (rules_preset("--preset", names[i], &all) < 0)
			fail_msg("%s", fault_text());
	assert_true(all.len > 9);
	for (unsigned i = 0; i < all.len; i++) { /* caches are no overload */
		assert_int_not_equal(all.rule[i].signal, SIGNAL_MEMORY_USAGE);
		assert_int_not_equal(all.rule[i].signal, SIGNAL_MEMORY_WORKING_SET);
	}
	assert_true(rules_preset("--preset", "game", &all) < 0);
	assert_non_null(strstr(fault_text(), "web, database or batch"));
	assert_true(rules_preset("--preset", "web", &all) < 0);
	assert_non_null(strstr(fault_text(), "two rules"));
	assert_int_equal(rules_add("--rule", &all, &one), 0);
	while (all.len < RULES_MAX) {
		one.name[0]++;
		assert_int_equal(rules_add("--rule", &all, &one), 0);
	}
	one.name[0]++;
	assert_true(rules_add("--rule", &all, &one) < 0);
	assert_non_null(strstr(fault_text(), "more than 16"));
}

static void test_the_file(void **unused)
{
	char dir[] = "/tmp/rules.XXXXXX";
	struct rules out = {0}, in;
	int fd;

	assert_non_null(mkdtemp(dir));
	fd = open(dir, O_RDONLY | O_DIRECTORY);
	assert_int_equal(rules_write(fd, &out), 0); /* none: no file */
	assert_int_equal(rules_read(fd, &in), 2);
	assert_true(in.observe);
	for (unsigned i = 0; i < in.len; i++)
		for (unsigned k = 0; k < in.rule[i].steps_len; k++)
			assert_int_equal(in.rule[i].steps[k].action, ACTION_EVENT);
	assert_int_equal(rules_preset("", "web", &out), 0);
	assert_int_equal(rules_write(fd, &out), 0);
	assert_int_equal(rules_read(fd, &in), out.len);
	assert_memory_equal(&in, &out, rules_size(&out));
	unlinkat(fd, "rules", 0);
	close(fd);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_everything_at_once),
		cmocka_unit_test(test_what_is_not_said),
		cmocka_unit_test(test_printed_and_read_again),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_presets_and_lists),
		cmocka_unit_test(test_the_file),
	};

	return cmocka_run_group_tests_name("rule_text", tests, NULL, NULL);
}
