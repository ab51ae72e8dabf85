/* sources: ipc */
#include "tests/unit/unit.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "ipc/base/mem.h"
#include "ipc/rlimits.h"
#include "ipc/sysctl.h"

static void test_paths(void **state)
{
	static const struct {
		const char *key, *path;
	} rows[] = {
		{"net.ipv4.ip_forward", "net/ipv4/ip_forward"},
		{"net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding"},
		{"kernel.sem", "kernel/sem"},
		{"", NULL},
		{".", NULL},
		{"net.", NULL},
		{".net", NULL},
		{"net..x", NULL},
		{"/net/x", NULL},
		{"net/../kernel/core_pattern", NULL},
		{"../kernel/x", NULL},
		{"net/core/..", NULL},
		{"net/x y", NULL},
		{"net.x\n", NULL},
		{"net.\xc3\xa9", NULL},
	};
	char path[64], longer[80];

	for (size_t i = 0; i < array_size(rows); i++) {
		int r = sysctl_path(rows[i].key, path, sizeof(path));

		assert_int_equal(r, rows[i].path ? 0 : -EINVAL);
		if (r == 0)
			assert_string_equal(path, rows[i].path);
	}
	memset(longer, 'a', sizeof(longer));
	longer[63] = '\0';
	assert_int_equal(sysctl_path(longer, path, sizeof(path)), 0);
	longer[63] = 'a';
	longer[64] = '\0';
	assert_int_equal(sysctl_path(longer, path, sizeof(path)), -EINVAL);
}

static void test_namespaces(void **state)
{
	assert_int_equal(sysctl_namespace("net/core/somaxconn"), CLONE_NEWNET);
	assert_int_equal(sysctl_namespace("network"), 0);
	assert_int_equal(sysctl_namespace("kernel/shmmax"), CLONE_NEWIPC);
	assert_int_equal(sysctl_namespace("kernel/sem"), CLONE_NEWIPC);
	assert_int_equal(sysctl_namespace("kernel/sem2"), 0);
	assert_int_equal(sysctl_namespace("fs/mqueue/msg_max"), CLONE_NEWIPC);
	assert_int_equal(sysctl_namespace("kernel/domainname"), CLONE_NEWUTS);
	assert_int_equal(sysctl_namespace("kernel/hostname"), 0);
	assert_int_equal(sysctl_namespace("kernel/core_pattern"), 0);
	assert_int_equal(sysctl_namespace("vm/swappiness"), 0);
}

static void test_rlimits(void **state)
{
	unsigned seen = 0;

	for (const struct rlimit_row *r = rlimit_rows; r->name; r++) {
		assert_string_equal(rlimit_name(r->resource), r->name);
		assert_int_equal(strlen(r->type), strlen(r->name) + strlen("RLIMIT_"));
		assert_int_equal(strcasecmp(r->type + strlen("RLIMIT_"), r->name), 0);
		assert_false(seen & 1u << r->resource);
		seen |= 1u << r->resource;
	}
	assert_int_equal(seen, 0xffff); /* all sixteen */
	assert_string_equal(rlimit_name(99), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_namespaces),
		cmocka_unit_test(test_rlimits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
