/* sources: ipc */
#include "tests/unit/unit.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "ipc/base/mem.h"
#include "ipc/base/sig.h"

static void names(void **state)
{
	assert_int_equal(sig_parse("SIGTERM"), SIGTERM);
	assert_int_equal(sig_parse("TERM"), SIGTERM);
	assert_int_equal(sig_parse("term"), SIGTERM);
	assert_int_equal(sig_parse("sigUsr1"), SIGUSR1);
	assert_int_equal(sig_parse("15"), SIGTERM);
	assert_int_equal(sig_parse("64"), 64);
	assert_int_equal(sig_parse("RTMIN"), SIGRTMIN);
	assert_int_equal(sig_parse("SIGRTMIN+3"), SIGRTMIN + 3);
}

static void nonsense(void **state)
{
	static const char *const bad[] = {"", "0", "65", "-9", "+9", "SIG", "SIGFOO", "TERM ", " 9",
		"9x", "RTMIN+", "RTMIN+99", "RTMIN-1", "99999999999999999999"};

	for (size_t i = 0; i < array_size(bad); i++)
		if (sig_parse(bad[i]) != -EINVAL)
			fail_msg("\"%s\" was taken as %d", bad[i], sig_parse(bad[i]));
}

/* What sig_name prints, sig_parse reads. */
static void round_trip(void **state)
{
	for (int signo = 1; signo <= SIGRTMAX; signo++) {
		if (signo >= 32 && signo < SIGRTMIN)
			continue; /* libc's own */
		assert_int_equal(sig_parse(sig_name(signo)), signo);
	}
	assert_string_equal(sig_name(SIGKILL), "SIGKILL");
	assert_string_equal(sig_name(0), "SIG?");
	assert_string_equal(sig_name(-1), "SIG?");
	assert_string_equal(sig_name(65), "SIG?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(nonsense),
		cmocka_unit_test(round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
