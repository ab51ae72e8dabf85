/* sources: cli/opt*.c cli/run_o*.c cli/files.c cli/caps.c cli/keys.c cli/spec.c cli/term.c ipc */
/* sources: cli/envfile.c cli/cpulist.c cli/devices.c monitor/a*.c monitor/[c-z]*.c */
/* The options about resources and the process: what a command line leaves in the spec. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include "cli/run_options.h"
#include "ipc/base/fault.h"
#include "ipc/base/mem.h"

#define ARGS_MAX 14

static int parse(struct run *run, const char *const *args)
{
	static char *argv[ARGS_MAX + 2];
	int argc = 1;

	memset(argv, 0, sizeof(argv));
	argv[0] = (char *)(uintptr_t) "run";
	for (; args[argc - 1]; argc++)
		argv[argc] = (char *)(uintptr_t)args[argc - 1];
	return run_parse(run, argc, argv);
}

#define ARGS(...) ((const char *const[ARGS_MAX]){__VA_ARGS__, NULL})

static void test_memory(void **state)
{
	const struct spec_resources *res;
	struct run run;

	assert_int_equal(parse(&run, ARGS("--memory-swap", "2G", "-m", "1G", "--memory-high=900m",
					     "--memory-reservation", "1G", "true")),
		RUN_OK);
	res = &run.spec.resources;
	assert_true(res->memory_swap == 2ULL << 30);
	assert_true(res->memory_reservation == 1ULL << 30);
	assert_true(res->memory_high == 900ULL << 20);
	assert_false(res->swap_unlimited);
	/* the last one counts, in both directions */
	assert_int_equal(
		parse(&run, ARGS("-m", "1G", "--memory-swap", "2G", "--memory-swap", "-1", "true")),
		RUN_OK);
	assert_true(run.spec.resources.swap_unlimited);
	assert_int_equal(run.spec.resources.memory_swap, 0);
	assert_int_equal(
		parse(&run, ARGS("-m", "1G", "--memory-swap", "-1", "--memory-swap", "2G", "true")),
		RUN_OK);
	assert_false(run.spec.resources.swap_unlimited);
	/* a bundle may have the limit: judged when it is read */
	assert_int_equal(parse(&run, ARGS("--bundle", "/", "--memory-swap", "2G")), RUN_OK);
	run_finish(&run);
	assert_true(parse(&run, ARGS("--memory-swap", "2G", "true")) < 0);
}

static void test_devices(void **state)
{
	static const struct {
		const char *value, *path, *access;
	} rows[] = {
		{"/dev/zero", "/dev/zero", "rwm"},
		{"/dev/zero:rw", "/dev/zero", "rw"},
		{"/dev/zero:/dev/a/b", "/dev/a/b", "rwm"},
		{"/dev/zero:/dev/rw:m", "/dev/rw", "m"},
	};

	for (size_t i = 0; i < array_size(rows); i++) {
		const struct spec_device *d;
		struct run run;

		assert_int_equal(parse(&run, ARGS("--device", rows[i].value, "true")), RUN_OK);
		d = run.spec.resources.devices.items;
		assert_int_equal(run.spec.resources.devices.len, 1);
		assert_string_equal(d->path, rows[i].path);
		assert_string_equal(d->access, rows[i].access);
		assert_int_equal(d->type, 'c');
		assert_int_equal(d->major, 1);
		assert_int_equal(d->minor, 5);
		run_finish(&run);
	}
}

static void test_ulimits(void **state)
{
	const struct spec_ulimit *u;
	struct run run;

	assert_int_equal(parse(&run, ARGS("--ulimit", "nofile=1:2", "--ulimit=core=-1", "--ulimit",
					     "as=5:unlimited", "true")),
		RUN_OK);
	u = run.spec.setup.ulimits.items;
	assert_int_equal(run.spec.setup.ulimits.len, 3);
	assert_string_equal(u[0].type, "RLIMIT_NOFILE");
	assert_int_equal(u[0].soft, 1);
	assert_int_equal(u[0].hard, 2);
	assert_true(u[1].soft == RLIM_INFINITY && u[1].hard == RLIM_INFINITY);
	assert_true(u[2].soft == 5 && u[2].hard == RLIM_INFINITY);
	run_finish(&run);
}

static void test_scores(void **state)
{
	static const struct {
		const char *text;
		int value;
	} rows[] = {{"0", 0}, {"-0", 0}, {"1000", 1000}, {"-1000", -1000}};
	struct run run;

	for (size_t i = 0; i < array_size(rows); i++) {
		assert_int_equal(
			parse(&run, ARGS("--oom-score-adj", rows[i].text, "true")), RUN_OK);
		assert_true(run.spec.setup.oom_score_set);
		assert_int_equal(run.spec.setup.oom_score, rows[i].value);
	}
	assert_int_equal(parse(&run, ARGS("true")), RUN_OK);
	assert_false(run.spec.setup.oom_score_set);
}

static void test_security(void **state)
{
	const struct spec_security *s;
	struct run run;

	assert_int_equal(parse(&run, ARGS("--security-opt", "seccomp=/x=y:z", "--security-opt",
					     "systempaths=unconfined", "true")),
		RUN_OK);
	s = &run.spec.setup.security;
	assert_int_equal(s->filter, FILTER_FILE);
	assert_string_equal(s->filter_file, "/x=y:z");
	assert_true(s->open_paths);
	assert_false(s->privileges_set);
	assert_int_equal(parse(&run, ARGS("--security-opt", "seccomp=unconfined", "--security-opt",
					     "no-new-privileges=false", "true")),
		RUN_OK);
	assert_int_equal(run.spec.setup.security.filter, FILTER_NONE);
	assert_false(run.settings.flags & SETTINGS_DEFAULT_SECCOMP);
	assert_true(run.spec.setup.security.new_privileges);
	assert_int_equal(
		parse(&run, ARGS("--security-opt", "seccomp=unconfined", "--security-opt",
				    "seccomp=default", "--security-opt", "no-new-privileges=false",
				    "--security-opt", "no-new-privileges", "true")),
		RUN_OK);
	assert_true(run.settings.flags & SETTINGS_DEFAULT_SECCOMP);
	assert_false(run.spec.setup.security.new_privileges);
	assert_int_equal(
		parse(&run, ARGS("--security-opt", "no-new-privileges=false", "true")), RUN_OK);
	assert_true(parse(&run, ARGS("--security-opt", "no-new-privileges=false", "--security-opt",
					"seccomp=/x", "true")) < 0);
	assert_non_null(strstr(fault_text(), "--init none"));
}

static void test_labels_and_sysctls(void **state)
{
	struct run run;

	assert_int_equal(
		parse(&run, ARGS("-l", "a", "--label", "b=c=d", "--sysctl", "net.core.somaxconn=1",
				    "--sysctl", "kernel/sem=1 2", "true")),
		RUN_OK);
	assert_string_equal(((char **)run.spec.setup.labels.items)[0], "a=");
	assert_string_equal(((char **)run.spec.setup.labels.items)[1], "b=c=d");
	assert_int_equal(run.spec.setup.sysctls.len, 2);
	run_finish(&run);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_devices),
		cmocka_unit_test(test_ulimits),
		cmocka_unit_test(test_scores),
		cmocka_unit_test(test_security),
		cmocka_unit_test(test_labels_and_sysctls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
