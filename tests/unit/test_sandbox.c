/* sources: shim/launch/sandbox.c shim/launch/blob.c shim/launch/bundle_changed.c ipc */
/* The flat sandbox comes from a process that read hostile text: no range of it is believed. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "ipc/base/mem.h"
#include "shim/launch/blob.h"
#include "shim/launch/bundle.h"
#include "shim/launch/sandbox.h"

struct made {
	struct blob b;
	struct sandbox head;
};

static const struct sandbox *finish(struct made *m)
{
	m->head.magic = SANDBOX_MAGIC;
	m->head.size = (uint32_t)m->b.len;
	memcpy(m->b.data, &m->head, sizeof(m->head));
	return (const void *)m->b.data;
}

static void begin(struct made *m)
{
	memset(m, 0, sizeof(*m));
	blob_init(&m->b, sizeof(m->head));
	m->head.root = blob_string(&m->b, "/srv/rootfs");
}

static int check(struct made *m)
{
	const struct sandbox *sb = finish(m);
	int r = sandbox_check(sb, m->b.len);

	blob_finish(&m->b);
	return r;
}

static void whole_is_taken(void **state)
{
	struct sandbox_mount mount = {.kind = MOUNT_TMPFS};
	struct made m;

	(void)state;
	begin(&m);
	blob_more(&m.b, &m.head.masked, "/proc/kcore");
	blob_more(&m.b, &m.head.masked, "/proc/keys");
	mount.target = blob_string(&m.b, "/tmp");
	m.head.mounts = blob_add(&m.b, &mount, sizeof(mount), 1);
	m.head.namespaces = CLONE_NEWNS | CLONE_NEWPID;
	assert_int_equal(check(&m), 0);
}

static void strings_are_walked(void **state)
{
	struct sandbox_walk w;
	struct made m;

	(void)state;
	begin(&m);
	blob_more(&m.b, &m.head.masked, "/a");
	blob_more(&m.b, &m.head.masked, "/bb");
	w = sandbox_walk(finish(&m), m.head.masked);
	assert_string_equal(sandbox_next(&w), "/a");
	assert_string_equal(sandbox_next(&w), "/bb");
	assert_null(sandbox_next(&w));
	w = sandbox_walk(finish(&m), m.head.readonly);
	assert_null(sandbox_next(&w));
	blob_finish(&m.b);
}

static void bad_ranges_are_refused(void **state)
{
	const struct plan_range bad[] = {
		{.off = 0, .len = 8, .count = 1},	   /* in the head */
		{.off = UINT32_MAX, .len = 8, .count = 1}, /* behind the end */
		{.off = sizeof(struct sandbox), .len = UINT32_MAX, .count = 1},
		{.off = sizeof(struct sandbox), .len = 11, .count = 1}, /* no NUL at its end */
		{.off = sizeof(struct sandbox), .len = 12, .count = 2}, /* fewer strings */
		{.off = sizeof(struct sandbox), .len = 0, .count = 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct made m;

		begin(&m);
		m.head.hostname = bad[i];
		assert_int_equal(check(&m), -EBADMSG);
	}
}

static void bad_lists_are_refused(void **state)
{
	struct sandbox_mount mount = {.kind = MOUNT_KINDS};
	struct sandbox_device device = {0};
	struct made m;

	(void)state;
	begin(&m);
	mount.target = blob_string(&m.b, "/tmp");
	m.head.mounts = blob_add(&m.b, &mount, sizeof(mount), 1);
	assert_int_equal(check(&m), -EBADMSG); /* no such kind */
	begin(&m);
	m.head.mounts = (struct plan_range){sizeof(struct sandbox), sizeof(mount) * 3, 3, 0};
	assert_int_equal(check(&m), -EBADMSG); /* longer than the blob */
	begin(&m);
	device.path = blob_string(&m.b, "/etc/passwd");
	m.head.devices = blob_add(&m.b, &device, sizeof(device), 1);
	assert_int_equal(check(&m), -EBADMSG); /* not below /dev */
	begin(&m);
	blob_more(&m.b, &m.head.masked, "relative");
	assert_int_equal(check(&m), -EBADMSG);
	begin(&m);
	blob_more(&m.b, &m.head.sysctls, "key/without/value");
	assert_int_equal(check(&m), -EBADMSG);
}

static void bad_heads_are_refused(void **state)
{
	struct made m;

	(void)state;
	begin(&m);
	m.head.namespaces = 1;
	assert_int_equal(check(&m), -EBADMSG);
	begin(&m);
	memset(m.head.warnings, 'x', sizeof(m.head.warnings));
	assert_int_equal(check(&m), -EBADMSG);
	begin(&m);
	finish(&m);
	assert_int_equal(sandbox_check((const void *)m.b.data, m.b.len - 1), -EBADMSG);
	assert_int_equal(sandbox_check((const void *)m.b.data, 4), -EBADMSG);
	blob_finish(&m.b);
}

/* Keys become file names, written to with the host's rights. */
static void keys_lead_nowhere_else(void **state)
{
	static const struct {
		const char *sysctl, *unified;
		int r;
	} rows[] = {
		{"net/core/somaxconn", "memory.high", 0},
		{"net/../kernel/core_pattern", "memory.high", -EBADMSG},
		{"/net/x", "memory.high", -EBADMSG},
		{"net/core/..", "memory.high", -EBADMSG},
		{"net/core/x", "../cgroup.procs", -EBADMSG},
		{"net/core/x", "cgroup.procs", -EBADMSG},
		{"net/core/x", "..", -EBADMSG},
		{"net/core/x", "", -EBADMSG},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct made m;

		begin(&m);
		blob_more(&m.b, &m.head.sysctls, rows[i].sysctl);
		blob_more(&m.b, &m.head.sysctls, "1");
		blob_more(&m.b, &m.head.limits.unified, rows[i].unified);
		blob_more(&m.b, &m.head.limits.unified, "1");
		assert_int_equal(check(&m), rows[i].r);
	}
}

/* Changed one by one, each accepted, while nothing ran: the kernel refuses less than the limit. */
static void memory_and_swap_are_no_less_than_memory(void **state)
{
	static const struct {
		uint64_t memory, sum, want;
	} cases[] = {{300, 200, 300}, {200, 300, 300}, {200, 200, 200}};

	(void)state;
	for (size_t i = 0; i < array_size(cases); i++) {
		struct settings set = {
			.changed.given = 1u << CHANGED_MEMORY | 1u << CHANGED_MEMORY_SWAP};
		struct bundle b = {.set = &set};
		uint64_t *v = b.head.limits.value;

		set.changed.value[CHANGED_MEMORY] = cases[i].memory;
		set.changed.value[CHANGED_MEMORY_SWAP] = cases[i].sum;
		v[LIMIT_MEM] = v[LIMIT_MEM_SWAP] = LIMIT_UNGIVEN;
		bundle_changed(&b);
		assert_int_equal(v[LIMIT_MEM], cases[i].memory);
		assert_int_equal(v[LIMIT_MEM_SWAP], cases[i].want);
		set.changed.none = 1u << CHANGED_MEMORY_SWAP;
		bundle_changed(&b);
		assert_true(v[LIMIT_MEM_SWAP] == LIMIT_UNGIVEN);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_is_taken),
		cmocka_unit_test(strings_are_walked),
		cmocka_unit_test(bad_ranges_are_refused),
		cmocka_unit_test(bad_lists_are_refused),
		cmocka_unit_test(bad_heads_are_refused),
		cmocka_unit_test(keys_lead_nowhere_else),
		cmocka_unit_test(memory_and_swap_are_no_less_than_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
