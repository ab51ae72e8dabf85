/* sources: cli/opt*.c cli/run_o*.c cli/files.c cli/caps.c cli/keys.c cli/spec.c cli/term.c ipc */
/* sources: cli/envfile.c cli/cpulist.c cli/devices.c monitor/a*.c monitor/[c-z]*.c */
#include "tests/unit/unit.h"

#include <signal.h>
#include <string.h>

#include "cli/run_options.h"
#include "ipc/base/fault.h"
#include "ipc/base/mem.h"

#define ARGS_MAX 12

static int parse(struct run *run, const char *const *args)
{
	static char *argv[ARGS_MAX + 2]; /* the command stays there */
	int argc = 1;

	memset(argv, 0, sizeof(argv));
	argv[0] = (char *)(uintptr_t) "run";
	for (; args[argc - 1]; argc++)
		argv[argc] = (char *)(uintptr_t)args[argc - 1];
	return run_parse(run, argc, argv);
}

#define ARGS(...) ((const char *const[ARGS_MAX]){__VA_ARGS__, NULL})

static void test_defaults(void **state)
{
	struct run run;

	assert_int_equal(parse(&run, ARGS("true")), RUN_OK);
	assert_int_equal(run.settings.policy.kind, RESTART_NO);
	assert_int_equal(run.settings.stop_signal, SIGTERM);
	assert_int_equal(run.settings.flags, SETTINGS_DEFAULT_SECCOMP | SETTINGS_HOST_ROOT);
	assert_string_equal(run.settings.realm, "local");
	assert_int_equal(run.spec.network, NETWORK_UNSET);
	run_finish(&run);
}

/* Clusters, values glued on, "=", and the command's own options left alone. */
static void test_spellings(void **state)
{
	struct run run;

	assert_int_equal(parse(&run, ARGS("-dm64M", "--cpus=0.5", "-w", "/tmp", "-eA=1", "sh", "-c",
					     "--memory")),
		RUN_OK);
	assert_true(run.detach);
	assert_int_equal(run.spec.memory, 64 << 20);
	assert_int_equal(run.spec.cpus, 500);
	assert_string_equal(run.spec.workdir, "/tmp");
	assert_string_equal(((char **)run.spec.env.items)[0], "A=1");
	assert_string_equal(run.spec.argv[0], "sh");
	assert_string_equal(run.spec.argv[2], "--memory");
	run_finish(&run);
	assert_int_equal(parse(&run, ARGS("--", "-d")), RUN_OK);
	assert_string_equal(run.spec.argv[0], "-d");
	assert_false(run.detach);
}

static void test_policy(void **state)
{
	struct run run;
	const struct policy_conf *p = &run.settings.policy;

	assert_int_equal(
		parse(&run, ARGS("--restart", "on-failure:3", "--success-exit-status", "3,255,TERM",
				    "--restart-factor", "1.5", "--restart-jitter=20%", "true")),
		RUN_OK);
	assert_int_equal(p->kind, RESTART_ON_FAILURE);
	assert_int_equal(p->budget_n, 3);
	assert_int_equal(p->success_codes[0], 1 << 3 | 1);
	assert_int_equal(p->success_codes[31], 1 << 7);
	assert_int_equal(p->success_signals, 1ULL << (SIGTERM - 1));
	assert_int_equal(p->factor_pct, 150);
	assert_int_equal(p->jitter_pct, 20);
	assert_int_equal(
		parse(&run, ARGS("--restart", "no", "--restart-budget", "5/10m:slow", "true")),
		RUN_OK);
	assert_int_equal(p->budget_n, 5);
	assert_int_equal(p->budget_window_usec, 600ULL * 1000000);
	assert_int_equal(p->on_budget, BUDGET_SLOW);
}

/* The N of on-failure:N goes with its policy; a budget of its own stays. */
static void test_budget_of_retries(void **state)
{
	struct run run;
	const struct policy_conf *p = &run.settings.policy;

	assert_int_equal(
		parse(&run, ARGS("--restart", "on-failure:3", "--restart", "always", "true")),
		RUN_OK);
	assert_int_equal(p->kind, RESTART_ALWAYS);
	assert_int_equal(p->budget_n, 0);
	assert_int_equal(p->budget_window_usec, 0);
	assert_int_equal(
		parse(&run, ARGS("--restart-budget", "5/1h:slow", "--restart", "always", "true")),
		RUN_OK);
	assert_int_equal(p->budget_n, 5);
	assert_int_equal(p->on_budget, BUDGET_SLOW);
	assert_int_equal(parse(&run, ARGS("--restart", "on-failure:3", "--restart-budget", "5/1h",
					     "--restart", "on-failure", "true")),
		RUN_OK);
	assert_int_equal(p->budget_n, 5);
}

static void test_pids_limit(void **state)
{
	struct cghier without = {0}, with = {.at[CG_PIDS] = {.root = "/pids"}};
	struct run run;

	assert_int_equal(parse(&run, ARGS("true")), RUN_OK);
	assert_false(run_degrade(&run, &with));
	assert_false(run.spec.pids_set);
	assert_true(run_degrade(&run, &without));
	assert_true(run.spec.pids_set);
	assert_int_equal(run.spec.pids, 0);
	assert_int_equal(parse(&run, ARGS("--pids-limit", "7", "true")), RUN_OK);
	assert_false(run_degrade(&run, &without));
	assert_int_equal(run.spec.pids, 7);
	assert_int_equal(parse(&run, ARGS("--pids-limit", "0", "true")), RUN_OK);
	assert_false(run_degrade(&run, &without));
	assert_true(run.spec.pids_set);
	assert_int_equal(run.spec.pids, 0);
}

static void test_hostname_of_a_long_id(void **state)
{
	char name[SPEC_HOSTNAME_MAX + 1], id[ID_MAX + 1];

	memset(id, 'a', sizeof(id));
	id[ID_MAX] = '\0';
	spec_hostname(id, name);
	assert_int_equal(strlen(name), SPEC_HOSTNAME_MAX);
	id[63] = '-';
	spec_hostname(id, name);
	assert_int_equal(strlen(name), 63);
	spec_hostname("web", name);
	assert_string_equal(name, "web");
}

static void test_cgroup_paths(void **state)
{
	static const char *const bad[] = {"", "/", "a/b", "/a..b", "/../x", "/a/..", "//a", "/a/",
		"/a//b", "/./a", "/a/.", "slice:a:b"};
	char path[300] = "/";

	for (size_t i = 0; i < array_size(bad); i++)
		assert_false(spec_cgroup_ok(bad[i]));
	assert_true(spec_cgroup_ok("/a"));
	assert_true(spec_cgroup_ok("/a.b/.c/d.scope"));
	memset(path + 1, 'a', 254);
	assert_true(spec_cgroup_ok(path));
	path[255] = 'a';
	assert_false(spec_cgroup_ok(path));
}

static void test_mounts(void **state)
{
	const struct spec_mount *m;
	struct run run;

	assert_int_equal(
		parse(&run, ARGS("-v", "/usr:/mnt:ro", "--tmpfs", "/run:size=1m", "true")), RUN_OK);
	m = run.spec.mounts.items;
	assert_int_equal(run.spec.mounts.len, 2);
	assert_string_equal(m[0].source, "/usr");
	assert_string_equal(m[0].target, "/mnt");
	assert_non_null(strstr(m[0].options, ",ro"));
	assert_string_equal(m[1].target, "/run");
	assert_non_null(strstr(m[1].options, "size=1m"));
	run_finish(&run);
}

/* Every refusal names the option and what was written, and says more than that. */
static void test_refusals(void **state)
{
	static const struct {
		const char *args[4];
		const char *name, *value;
	} bad[] = {
		{{"--no-such"}, "--no-such", "--help"},
		{{"-Z"}, "-Z", "--help"},
		{{"--memory"}, "--memory", "SIZE"},
		{{"--memory", "12Q"}, "--memory", "12Q"},
		{{"--memory", "1k"}, "--memory", "1k"},
		{{"--detach=yes"}, "--detach", "yes"},
		{{"--volume", "/usr"}, "--volume", "SRC:DST"},
		{{"--volume", "/usr:/mnt:rx"}, "--volume", "/usr:/mnt:rx"},
		{{"--volume", "/usr:mnt"}, "--volume", "absolute"},
		{{"--volume", "/usr:/mnt/../x"}, "--volume", "absolute"},
		{{"--volume", "/no/such:/mnt"}, "--volume", "/no/such"},
		{{"--tmpfs", "run"}, "--tmpfs", "run"},
		{{"--env", "=x"}, "--env", "=x"},
		{{"--userns", "100"}, "--userns", "100"},
		{{"--userns", "0:65536"}, "--userns", "0:65536"},
		{{"--userns", "4294967000:65536"}, "--userns", "4294967000"},
		{{"--userns", "000000000000000001000000:65536"}, "--userns", "00000"},
		{{"--userns", "10000000000000000000000000:65536"}, "--userns", "100000"},
		{{"--restart", "on-failure:0"}, "--restart", "on-failure:0"},
		{{"--restart", "always:3"}, "--restart", "always:3"},
		{{"--restart-budget", "257/1h"}, "--restart-budget", "257/1h"},
		{{"--restart-budget", "5/1h:never"}, "--restart-budget", "5/1h:never"},
		{{"--restart-budget", "5/"}, "--restart-budget", "5/"},
		{{"--restart-factor", "0.5"}, "--restart-factor", "0.5"},
		{{"--restart-jitter", "51"}, "--restart-jitter", "51"},
		{{"--restart-jitter", "00000001000%"}, "--restart-jitter", "00000001000%"},
		{{"--restart-budget", "0000000000000000000000005000/1h"}, "--restart-budget",
			"0000"},
		{{"--restart-delay", "1s"}, "--restart-delay", "--restart always"},
		{{"--restart-max-delay=1s"}, "--restart-max-delay", "--restart always"},
		{{"--restart-mode", "fresh"}, "--restart-mode", "--restart always"},
		{{"--restart-jitter", "5"}, "--restart-jitter", "--restart always"},
		{{"--restart-factor", "2"}, "--restart-factor", "--restart always"},
		{{"--restart-budget", "5/1h"}, "--restart-budget", "--restart always"},
		{{"--init=none", "--oom-policy=stop"}, "--oom-policy", "--init none"},
		{{"--init=none", "--oom-policy", "continue"}, "--oom-policy", "continue"},
		{{"--success-exit-status", "0,256"}, "--success-exit-status", "256"},
		{{"--cap-add", "NOTHING"}, "--cap-add", "NOTHING"},
		{{"--hostname", "a b"}, "--hostname", "a b"},
		{{"--cgroup", "a/b"}, "--cgroup", "a/b"},
		{{"--cgroup", "/"}, "--cgroup", "/"},
		{{"--cgroup", "/a..b"}, "--cgroup", "/a..b"},
		{{"--name", "../x"}, "../x", "name"},
		{{"--init", "none", "--restart-mode=in-place"}, "--restart-mode", "--init none"},
	};
	const char *args[ARGS_MAX] = {0};
	struct run run;

	for (size_t i = 0; i < array_size(bad); i++) {
		size_t n = 0;

		while (n < 4 && bad[i].args[n]) {
			args[n] = bad[i].args[n];
			n++;
		}
		if (strcmp(args[0], "--memory") != 0 || n > 1)
			args[n++] = "true";
		args[n] = NULL;
		assert_true(parse(&run, args) < 0);
		assert_non_null(strstr(fault_text(), bad[i].name));
		assert_non_null(strstr(fault_text(), bad[i].value));
		assert_true(strlen(fault_text()) > strlen(bad[i].name) + 15);
		spec_finish(&run.spec);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_spellings),
		cmocka_unit_test(test_policy),
		cmocka_unit_test(test_budget_of_retries),
		cmocka_unit_test(test_pids_limit),
		cmocka_unit_test(test_hostname_of_a_long_id),
		cmocka_unit_test(test_cgroup_paths),
		cmocka_unit_test(test_mounts),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
