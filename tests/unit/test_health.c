/* sources: ipc */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/mem.h"
#include "ipc/health.h"
#include "tests/unit/scratch.h"

static struct probe_conf good(const char *text)
{
	struct probe_conf c;
	auto_free char *copy = strdup(text);

	if (probe_parse("--probe", copy, &c) < 0)
		fail_msg("%s", fault_text());
	return c;
}

static void test_targets(void **state)
{
	struct probe_conf c =
		good("liveness=http://127.0.0.1:8080/a?b=c%20d,period=250ms,failures=7");
	char text[700];

	assert_true(c.kind == PROBE_LIVENESS && c.how == PROBE_HTTP && c.port == 8080 && !c.v6);
	assert_string_equal(c.text, "/a?b=c%20d");
	assert_string_equal(c.host, "127.0.0.1:8080");
	assert_true(c.period_usec == 250000 && c.failures == 7 && c.timeout_usec == 1000000);
	probe_target(&c, text, sizeof(text));
	assert_string_equal(text, "http://127.0.0.1:8080/a?b=c%20d");
	c = good("readiness=http://localhost,successes=2");
	assert_true(c.port == 80 && c.successes == 2 && c.addr[0] == 127 && c.addr[3] == 1);
	assert_string_equal(c.text, "/");
	assert_string_equal(c.host, "localhost");
	c = good("startup=tcp://[::1]:1,delay=2,grace=3s,timeout=1us");
	assert_true(c.v6 && c.port == 1 && c.addr[15] == 1 && c.delay_usec == 2000000);
	assert_true(c.grace_usec == 3000000 && c.timeout_usec == 1);
	probe_target(&c, text, sizeof(text));
	assert_string_equal(text, "tcp://[::1]:1");
	c = good("health=unix:/run/x.sock");
	assert_true(c.how == PROBE_UNIX && c.period_usec == 30000000);
	assert_string_equal(c.text, "/run/x.sock");
	c = good("readiness=unix:'/run/a,b',period=1s");
	assert_string_equal(c.text, "/run/a,b");
}

static void test_commands(void **state)
{
	static const char want[] = "sh\0-c\0a, 'b' c\0x";
	struct probe_conf c = good("liveness=exec:sh -c  \"a, 'b' c\" x,period=1s,failures=2");
	char text[40];

	assert_int_equal(c.words, 4);
	assert_memory_equal(c.text, want, sizeof(want));
	probe_target(&c, text, sizeof(text));
	assert_string_equal(text, "exec:sh -c a, 'b' c x");
	probe_target(&c, text, 9);
	assert_string_equal(text, "exec:sh ");
	c = good("liveness=exec:''");
	assert_true(c.words == 1 && !c.text[0]);
}

static void test_what_is_none(void **state)
{
	static const char *const texts[] = {"", "=", "liveness", "liveness=", "Liveness=exec:a",
		"livenes=exec:a", "liveness=exec:", "liveness=exec: ", "liveness=exec:'a",
		"liveness=exec:a,", "liveness=exec:a,period",
		"liveness=exec:a,period=", "liveness=exec:a,period=x",
		"liveness=exec:a,period=99ms", "liveness=exec:a,timeout=0",
		"liveness=exec:a,failures=0", "liveness=exec:a,failures=-1", "liveness=exec:a,x=1",
		"liveness=exec:a,successes=2", "liveness=tcp://", "liveness=tcp://1.2.3.4",
		"liveness=tcp://1.2.3.4:", "liveness=tcp://1.2.3.4:0",
		"liveness=tcp://1.2.3.4:65536", "liveness=tcp://1.2.3.4:1x",
		"liveness=tcp://1.2.3:80", "liveness=tcp://::1:80", "liveness=tcp://[::1:80",
		"liveness=tcp://[::1]80", "liveness=tcp://:80", "liveness=tcp://[]:80",
		"liveness=http://a/", "liveness=https://1.2.3.4/", "liveness=http://1.2.3.4/ b",
		"liveness=http://1.2.3.4/\tb", "liveness=http:///x",
		"liveness=unix:", "liveness=unix:/", "liveness=unix:a",
		"liveness=http://1.2.3.4:80:80/"};

	for (size_t i = 0; i < array_size(texts); i++) {
		auto_free char *copy = strdup(texts[i]);
		struct probe_conf c;

		if (probe_parse("--probe", copy, &c) != -EINVAL)
			fail_msg("\"%s\" is taken", texts[i]);
		assert_non_null(strstr(fault_text(), "--probe \""));
	}
}

static void test_bounds(void **state)
{
	char text[1200] = "liveness=exec:";
	size_t head = strlen(text);
	struct probe_conf c;

	for (size_t n = 1; n < 1100; n++) {
		memset(text + head, 'a', n);
		text[head + n] = '\0';
		assert_int_equal(probe_parse("--probe", text, &c), n < PROBE_WORDS ? 0 : -EINVAL);
	}
	for (size_t n = 0; n < 700; n += 2)
		memcpy(text + head + n, "a ", 2);
	text[head + 700] = '\0';
	assert_int_equal(probe_parse("--probe", text, &c), -EINVAL);
	text[head + PROBE_WORDS - 1] = '\0';
	assert_int_equal(probe_parse("--probe", text, &c), 0);
	assert_int_equal(c.words, PROBE_WORDS / 2);
}

static void damage(int dirfd, const char *name, off_t at, uint32_t value)
{
	int fd = openat(dirfd, name, O_WRONLY);

	assert_int_equal(pwrite(fd, &value, sizeof(value), at), sizeof(value));
	close(fd);
}

static void test_conf_file(void **state)
{
	struct health_conf c = {.count = 1}, back;
	int dirfd = ((struct scratch *)*state)->fd;
	static const struct {
		off_t at;
		uint32_t value;
	} wrong[] = {
		{offsetof(struct health_conf, version), 99},
		{offsetof(struct health_conf, count), 9},
		{offsetof(struct health_conf, probes[0].kind), PROBE_KINDS},
		{offsetof(struct health_conf, probes[0].how), PROBE_HOWS},
		{offsetof(struct health_conf, probes[0].failures), 0},
		{offsetof(struct health_conf, probes[0].words), 600},
	};

	assert_int_equal(health_read(dirfd, &back), -ENOENT);
	c.probes[0] = good("liveness=exec:a b");
	for (size_t i = 0; i < array_size(wrong); i++) {
		assert_int_equal(health_write(dirfd, &c), 0);
		assert_int_equal(health_read(dirfd, &back), 0);
		assert_memory_equal(&c, &back, sizeof(c));
		damage(dirfd, "health", wrong[i].at, wrong[i].value);
		assert_int_equal(health_read(dirfd, &back), -EBADMSG);
	}
}

static void test_state_file(void **state)
{
	struct health_state *s, *again, back;
	int dirfd = ((struct scratch *)*state)->fd;

	assert_int_equal(health_state_read(dirfd, &back), -ENOENT);
	assert_int_equal(health_state_map(dirfd, &s), 0);
	s->run = 7;
	s->changing = 3; /* as one leaves it who dies over a change */
	memset(s->status, 'x', sizeof(s->status));
	assert_int_equal(health_state_read(dirfd, &back), 0);
	assert_int_equal(back.run, 7);
	assert_int_equal(strlen(back.status), sizeof(back.status) - 1);
	assert_int_equal(health_state_map(dirfd, &again), 0);
	assert_int_equal(again->run, 7);
	assert_false(again->changing & 1);
	damage(dirfd, "healthstate", 0, 0);
	assert_int_equal(health_state_read(dirfd, &back), -EBADMSG);
	assert_int_equal(health_state_map(dirfd, &again), 0);
	assert_int_equal(again->run, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_targets),
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_what_is_none),
		cmocka_unit_test(test_bounds),
		in_scratch(test_conf_file),
		in_scratch(test_state_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
