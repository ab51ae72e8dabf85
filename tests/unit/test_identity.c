/* sources: cli/identity.c cli/caps.c cli/text.c ipc */
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/caps.h"
#include "cli/identity.h"
#include "cli/text.h"
#include "ipc/base/mem.h"
#include "tests/unit/scratch.h"

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
			     "broken:x:\n"
			     "alice:x:1234:1235:Alice:/home/alice:/bin/sh\n"
			     "evil:x:+0:0::/:/bin/sh\n"
			     "last:x:7:8::/l:/bin/sh";
static const char group[] = "root:x:0:\nstaff:x:2000:bob,alice\nalice:x:1235:alice\n"
			    "near:x:2001:alicex,xalice\nodd:x:9x:alice\nend:x:2002:alice";

static void test_numbers(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint32_t n;
	} rows[] = {
		{"0", 0, 0},
		{"1234", 0, 1234},
		{"4294967294", 0, 4294967294},
		{"4294967295", -ERANGE, 0},
		{"4294967296", -ERANGE, 0},
		{"9999999999", -ERANGE, 0},
		{"", -EINVAL, 0},
		{"+1", -EINVAL, 0},
		{"-1", -EINVAL, 0},
		{"01", -EINVAL, 0},
		{"0x1", -EINVAL, 0},
		{" 1", -EINVAL, 0},
		{"1\n", -EINVAL, 0},
		{"1a", -EINVAL, 0},
		{"18446744073709551616", -EINVAL, 0},
	};

	for (size_t i = 0; i < array_size(rows); i++) {
		uint32_t n = 0;

		assert_int_equal(
			identity_number(rows[i].text, strlen(rows[i].text), &n), rows[i].r);
		if (rows[i].r == 0)
			assert_int_equal(n, rows[i].n);
	}
}

static void test_lists(void **state)
{
	struct identity who = {0};
	uint32_t gid;

	assert_int_equal(identity_in_passwd(passwd, "alice", 5, &who), 1);
	assert_int_equal(who.uid, 1234);
	assert_int_equal(who.gid, 1235);
	assert_string_equal(who.home, "/home/alice");
	identity_groups(group, "alice", 5, &who);
	assert_int_equal(who.groups_len, 2); /* its own group is no supplementary one */
	assert_int_equal(who.groups[0], 2000);
	assert_int_equal(who.groups[1], 2002);
	assert_int_equal(identity_in_passwd(passwd, "last", 4, &who), 1);
	assert_int_equal(who.uid, 7);
	for (const char *const *p = (const char *const[]){"ali", "broken", "evil", "x", NULL}; *p;
		p++)
		assert_int_equal(identity_in_passwd(passwd, *p, strlen(*p), &who), 0);
	assert_int_equal(identity_in_group(group, "staff", 5, &gid), 1);
	assert_int_equal(gid, 2000);
	assert_int_equal(identity_in_group(group, "odd", 3, &gid), 0);
	assert_int_equal(identity_in_passwd("", "a", 1, &who), 0);
}

static void put(const struct scratch *s, const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/etc/%s", s->path, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* The files are the container's: a symlink stays inside its root, a FIFO does not block. */
static void test_resolve(void **state)
{
	const struct scratch *s = *state;
	struct identity who;

	assert_int_equal(mkdirat(s->fd, "etc", 0755), 0);
	assert_int_equal(identity_resolve("12:34", s->path, &who), 0);
	assert_int_equal(who.uid, 12);
	assert_int_equal(who.gid, 34);
	assert_true(identity_resolve("root", s->path, &who) < 0);
	put(s, "real", passwd);
	put(s, "group", group);
	assert_int_equal(symlinkat("/etc/real", s->fd, "etc/passwd"), 0);
	assert_int_equal(identity_resolve("alice", s->path, &who), 0);
	assert_int_equal(who.groups_len, 2);
	assert_int_equal(identity_resolve("alice:staff", s->path, &who), 0);
	assert_int_equal(who.gid, 2000);
	assert_int_equal(who.groups_len, 0);
	for (const char *const *p = (const char *const[]){"", ":", ":1", "1:", "+1",
		     "alice:", "nobody", "1:nogroup", "4294967295", "1alice", NULL};
		*p; p++)
		assert_true(identity_resolve(*p, s->path, &who) < 0);
	assert_int_equal(unlinkat(s->fd, "etc/passwd", 0), 0);
	assert_int_equal(mkfifoat(s->fd, "etc/passwd", 0600), 0);
	assert_true(identity_resolve("alice", s->path, &who) < 0);
}

static void test_caps(void **state)
{
	uint64_t net_raw = caps_parse("net_raw"), kill_ = caps_parse("CAP_KILL"),
		 all = caps_parse("ALL");

	assert_int_equal(net_raw, 1 << 13);
	assert_int_equal(caps_parse("NONSENSE"), 0);
	assert_int_equal(caps_parse(""), 0);
	assert_int_equal(__builtin_popcountll(caps_default()), 7);
	assert_int_equal(
		caps_apply(caps_default(), net_raw, kill_), (caps_default() | net_raw) & ~kill_);
	assert_int_equal(caps_apply(caps_default(), net_raw, all), net_raw);
	assert_int_equal(caps_apply(caps_default(), all, kill_), all & ~kill_);
	assert_int_equal(caps_apply(caps_default(), 0, all), 0);
}

/* Whatever is put in, nothing but printable ASCII comes out, and never more than fits. */
static void test_escape(void **state)
{
	char all[255], out[1200];
	size_t n;

	for (int i = 0; i < 255; i++)
		all[i] = (char)(i + 1);
	for (size_t size = 1; size < sizeof(out); size += 7) {
		n = text_escape(out, size, all, sizeof(all));
		assert_true(n < size);
		assert_int_equal(strlen(out), n);
		for (size_t i = 0; i < n; i++)
			assert_in_range(out[i], 0x20, 0x7e);
	}
	text_escape(out, sizeof(out), "a\x1b[1m\n", 6);
	assert_string_equal(out, "a\\x1b[1m\\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_lists),
		cmocka_unit_test_setup_teardown(test_resolve, scratch_setup, scratch_teardown),
		cmocka_unit_test(test_caps),
		cmocka_unit_test(test_escape),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
