/* sources: ipc */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/base/mem.h"
#include "ipc/notify.h"

static struct notify_msg parse(const char *text)
{
	/* exactly as long as it is, so that a sanitizer sees a step too far */
	size_t len = strlen(text);
	auto_free char *copy = malloc(len ? len : 1);
	struct notify_msg m;

	memcpy(copy, text, len);
	notify_parse(copy, len, &m);
	return m;
}

static void test_words(void **state)
{
	struct notify_msg m = parse("READY=1");

	assert_true(m.ready && !m.store && !m.unstore && !m.named);
	assert_string_equal(m.fdname, "stored");
	m = parse("STATUS=READY=1\nX=1\n\nREADY=1\n");
	assert_true(m.ready);
	m = parse("FDSTORE=1\nFDNAME=a b.c/d=e");
	assert_true(m.store && m.named && !m.ready);
	assert_string_equal(m.fdname, "a b.c/d=e");
	m = parse("FDNAME=x\nFDSTOREREMOVE=1");
	assert_true(m.unstore && m.named && !m.store);
}

static void test_what_does_not_count(void **state)
{
	static const char *const texts[] = {"", "\n", "READY=0", "READY=11", "READY", "ready=1",
		" READY=1", "READY=1 ", "XREADY=1", "FDSTORE=0", "FDSTORE", "FDNAME=", "FDNAME",
		"FDNAME=a:b", "FDNAME=a\tb", "FDNAME=\xc3\xa4", "STATUS=READY=1"};

	for (size_t i = 0; i < array_size(texts); i++) {
		struct notify_msg m = parse(texts[i]);

		assert_false(m.ready || m.store || m.unstore || m.named);
		assert_string_equal(m.fdname, "stored");
	}
}

static void test_what_a_service_says_of_itself(void **state)
{
	struct notify_msg m = parse("WATCHDOG=1\nSTATUS=a b\x1b[1m\xc3\xa4\nSTOPPING=1");

	assert_true(m.alive && m.stopping && m.told && !m.reloading && !m.trigger && !m.main_pid);
	assert_string_equal(m.status, "a b?[1m\xc3\xa4");
	m = parse("WATCHDOG=trigger\nRELOADING=1\nMAINPID=7");
	assert_true(m.trigger && m.reloading && m.main_pid && !m.alive && !m.told);
	m = parse("WATCHDOG=2\nRELOADING=0\nSTOPPING=\nSTATUS=");
	assert_false(m.alive || m.trigger || m.reloading || m.stopping);
	assert_true(m.told && !m.status[0]);
}

static void test_numbers(void **state)
{
	static const char *const none[] = {"", "x", "-1", "1x", " 1", "99999999999999999999"};
	struct notify_msg m = parse("WATCHDOG_USEC=0\nEXTEND_TIMEOUT_USEC=9999999999999999999\n"
				    "ERRNO=2\nEXIT_STATUS=3");
	char text[64];

	assert_true(m.watchdog_usec.given && m.watchdog_usec.value == 0);
	assert_true(m.extend_usec.given && m.extend_usec.value == 9999999999999999999u);
	assert_true(m.errnum.value == 2 && m.exit_status.value == 3);
	for (size_t i = 0; i < array_size(none); i++) {
		snprintf(text, sizeof(text), "WATCHDOG_USEC=%s", none[i]);
		m = parse(text);
		assert_false(m.watchdog_usec.given || m.extend_usec.given || m.alive);
	}
}

static void test_a_long_status(void **state)
{
	char text[600] = "STATUS=";
	struct notify_msg m;

	for (size_t n = 0; n < 500; n += 2)
		memcpy(text + 7 + n, "\xc3\xa4", 2);
	m = parse(text);
	assert_int_equal(strlen(m.status), NOTIFY_STATUS_MAX - 1); /* no half of a letter */
	memset(text + 7, 'x', 500);
	m = parse(text);
	assert_int_equal(strlen(m.status), NOTIFY_STATUS_MAX);
}

static void test_bounds(void **state)
{
	static const char nul[] = "READY=1\0\nFDSTORE=1";
	char text[400] = "FDNAME=";
	struct notify_msg m;

	for (size_t n = 255; n <= 256; n++) {
		memset(text + 7, 'n', n);
		text[7 + n] = '\0';
		m = parse(text);
		assert_int_equal(m.named, n == 255);
		assert_int_equal(strlen(m.fdname), n == 255 ? 255 : strlen("stored"));
	}
	notify_parse(nul, sizeof(nul) - 1, &m);
	assert_true(m.store && !m.ready);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_what_does_not_count),
		cmocka_unit_test(test_what_a_service_says_of_itself),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_a_long_status),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
