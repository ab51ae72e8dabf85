/* sources: monitor/cglimit.c monitor/cgenter.c monitor/cgstat.c ipc */
/* All of a change or nothing, on trees made of plain files. */
#include "monitor/cglimit.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "ipc/base/fault.h"
#include "ipc/base/file.h"
#include "tests/unit/scratch.h"

#define MIB (1u << 20)

struct tree {
	struct cghier h;
	int fd;
};

static void put(int dir, const char *file, const char *text)
{
	assert_int_equal(file_replace(dir, file, text, strlen(text), 0600), 0);
}

/* A write to a plain file leaves the tail of what was longer; the kernel's have none. */
static void expect(int dir, const char *file, const char *text)
{
	char is[64];

	assert_true(file_read_buf(dir, file, is, sizeof(is)) > 0);
	if (strncmp(is, text, strlen(text)) != 0)
		fail_msg("%s is \"%s\", not \"%s\"", file, is, text);
}

static struct tree tree_v2(struct scratch *d)
{
	struct tree t = {.h = {.pure_v2 = true}, .fd = d->fd};

	snprintf(t.h.unified, sizeof(t.h.unified), "%s", d->path);
	for (int i = 0; i < CG_CONTROLLERS; i++) {
		t.h.at[i].v2 = true;
		snprintf(t.h.at[i].root, sizeof(t.h.at[i].root), "%s", d->path);
	}
	mkdirat(d->fd, "g", 0700);
	put(d->fd, "g/cgroup.procs", "");
	put(d->fd, "g/memory.max", "67108864\n");
	put(d->fd, "g/memory.swap.max", "0000000\n");
	put(d->fd, "g/memory.high", "max00000\n");
	put(d->fd, "g/memory.current", "8388608\n");
	put(d->fd, "g/memory.stat", "anon 4194304\nfile 2097152\n");
	put(d->fd, "g/cpu.max", "max 100000\n");
	put(d->fd, "g/cpu.weight", "100\n");
	put(d->fd, "g/pids.max", "50\n");
	return t;
}

static void change(struct changed_limits *c, enum changed_limit l, uint64_t value)
{
	c->given |= 1u << l;
	c->value[l] = value;
}

static int apply(const struct tree *t, struct changed_limits *c)
{
	struct cglimit_undo undo = {0};
	uint32_t asked = c->given;
	int r = cglimit_complete(&t->h, "/g", c);

	return r < 0 ? r : cglimit_apply(&t->h, "/g", c, asked, &undo);
}

static void test_every_limit(void **state)
{
	struct tree t = tree_v2(*state);
	struct changed_limits c = {0};

	change(&c, CHANGED_MEMORY, 96 * MIB);
	change(&c, CHANGED_MEMORY_HIGH, 80 * MIB);
	change(&c, CHANGED_CPUS, 1500);
	change(&c, CHANGED_CPU_WEIGHT, 250);
	change(&c, CHANGED_PIDS, 77);
	assert_int_equal(apply(&t, &c), 0);
	expect(t.fd, "g/memory.max", "100663296");
	expect(t.fd, "g/memory.high", "83886080");
	expect(t.fd, "g/memory.swap.max", "0");
	expect(t.fd, "g/cpu.max", "150000 100000");
	expect(t.fd, "g/cpu.weight", "250");
	expect(t.fd, "g/pids.max", "77");
	/* what follows is written down as well: as much swap as before, none */
	assert_true(c.given >> CHANGED_MEMORY_SWAP & 1);
	assert_int_equal(c.value[CHANGED_MEMORY_SWAP], 96 * MIB);
}

static void test_what_fails_last_undoes_all(void **state)
{
	struct tree t = tree_v2(*state);
	struct changed_limits c = {0};

	unlinkat(t.fd, "g/pids.max", 0);
	change(&c, CHANGED_MEMORY, 96 * MIB);
	change(&c, CHANGED_MEMORY_HIGH, 80 * MIB);
	change(&c, CHANGED_CPUS, 1500);
	change(&c, CHANGED_PIDS, 77);
	assert_int_equal(apply(&t, &c), -EOPNOTSUPP);
	assert_non_null(strstr(fault_text(), "pids.max"));
	expect(t.fd, "g/memory.max", "67108864");
	expect(t.fd, "g/memory.high", "max");
	expect(t.fd, "g/cpu.max", "max 100000");
}

static void test_too_little_memory(void **state)
{
	struct tree t = tree_v2(*state);
	struct changed_limits c = {0};

	change(&c, CHANGED_MEMORY, 6 * MIB - 1); /* 8 in use, 2 of it can be given back */
	change(&c, CHANGED_CPUS, 500);
	assert_int_equal(apply(&t, &c), -EINVAL);
	assert_non_null(strstr(fault_text(), "6291456"));
	expect(t.fd, "g/memory.max", "67108864");
	expect(t.fd, "g/cpu.max", "max");
	c = (struct changed_limits){0};
	change(&c, CHANGED_MEMORY, 6 * MIB);
	assert_int_equal(apply(&t, &c), 0);
}

static void test_swap(void **state)
{
	struct tree t = tree_v2(*state);
	struct changed_limits less = {0}, more = {0}, none = {0}, alone = {0};

	change(&less, CHANGED_MEMORY_SWAP, 32 * MIB);
	assert_int_equal(apply(&t, &less), -EINVAL);
	change(&more, CHANGED_MEMORY_SWAP, 80 * MIB);
	assert_int_equal(apply(&t, &more), 0);
	expect(t.fd, "g/memory.swap.max", "16777216");
	change(&none, CHANGED_MEMORY, 0);
	none.none = 1u << CHANGED_MEMORY;
	assert_int_equal(apply(&t, &none), 0);
	expect(t.fd, "g/memory.max", "max");
	expect(t.fd, "g/memory.swap.max", "max");
	put(t.fd, "g/memory.max", "max\n");
	change(&alone, CHANGED_MEMORY_SWAP, 80 * MIB);
	assert_int_equal(apply(&t, &alone), -EINVAL);
	assert_non_null(strstr(fault_text(), "give one"));
}

static struct tree tree_v1(struct scratch *d)
{
	static const char dirs[] = "u\0m\0c\0";
	struct tree t = {.fd = d->fd};

	snprintf(t.h.unified, sizeof(t.h.unified), "%.50s/u", d->path);
	snprintf(t.h.at[CG_MEMORY].root, sizeof(t.h.at[0].root), "%.50s/m", d->path);
	snprintf(t.h.at[CG_CPU].root, sizeof(t.h.at[0].root), "%.50s/c", d->path);
	for (const char *dir = dirs; *dir; dir += 2) {
		char path[32];

		mkdirat(d->fd, dir, 0700);
		snprintf(path, sizeof(path), "%s/g", dir);
		mkdirat(d->fd, path, 0700);
		snprintf(path, sizeof(path), "%s/g/cgroup.procs", dir);
		put(d->fd, path, "");
	}
	put(d->fd, "m/g/memory.limit_in_bytes", "67108864\n");
	put(d->fd, "m/g/memory.memsw.limit_in_bytes", "67108864\n");
	put(d->fd, "m/g/memory.usage_in_bytes", "1048576\n");
	put(d->fd, "c/g/cpu.cfs_quota_us", "-1\n");
	put(d->fd, "c/g/cpu.cfs_period_us", "100000\n");
	put(d->fd, "c/g/cpu.shares", "1024\n");
	return t;
}

static void test_v1(void **state)
{
	struct tree t = tree_v1(*state);
	struct changed_limits c = {0}, high = {0}, pids = {0};

	change(&c, CHANGED_MEMORY, 96 * MIB);
	change(&c, CHANGED_CPUS, 250);
	change(&c, CHANGED_CPU_WEIGHT, 200);
	assert_int_equal(apply(&t, &c), 0);
	expect(t.fd, "m/g/memory.limit_in_bytes", "100663296");
	expect(t.fd, "m/g/memory.memsw.limit_in_bytes", "100663296");
	expect(t.fd, "c/g/cpu.cfs_quota_us", "25000");
	expect(t.fd, "c/g/cpu.shares", "2048");
	change(&high, CHANGED_MEMORY_HIGH, 80 * MIB);
	assert_int_equal(apply(&t, &high), -EOPNOTSUPP);
	change(&pids, CHANGED_PIDS, 80);
	assert_int_equal(apply(&t, &pids), -EOPNOTSUPP); /* no such controller here */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_scratch(test_every_limit),
		in_scratch(test_what_fails_last_undoes_all),
		in_scratch(test_too_little_memory),
		in_scratch(test_swap),
		in_scratch(test_v1),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
