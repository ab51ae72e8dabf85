/* sources: monitor/sense.c monitor/alarm.c monitor/cgstat.c monitor/signals.c ipc */
/* A group's files as samples, and the mark that tells of memory on cgroup v2: in a directory that
 * looks like one. */
#include "monitor/sense.h"

#include <string.h>

#include "ipc/base/file.h"
#include "ipc/base/mem.h"
#include "tests/unit/scratch.h"

#define MIB (1ull << 20)

struct fix {
	struct sense sense;
	struct cghier hier;
	struct rules rules;
	int dir;
};

static void set(const struct fix *f, const char *file, const char *text)
{
	assert_int_equal(file_replace(f->dir, file, text, strlen(text), 0600), 0);
}

static void set_bytes(const struct fix *f, const char *file, uint64_t bytes)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu\n", (unsigned long long)bytes);
	set(f, file, text);
}

static uint64_t high(const struct fix *f)
{
	char text[32];

	assert_true(file_read_buf(f->dir, "memory.high", text, sizeof(text)) > 0);
	return text[0] == 'm' ? UINT64_MAX : strtoull(text, NULL, 10);
}

/* Usage above 80 % of 100 MiB. Files are written over, not replaced: what is open must see it. */
static struct fix *fix_new(void **state, const char *own_high, uint64_t usage)
{
	const struct scratch *s = *state;
	static struct fix f;

	f = (struct fix){.dir = -1};
	snprintf(f.hier.unified, sizeof(f.hier.unified), "%s", s->path);
	snprintf(f.hier.at[CG_MEMORY].root, sizeof(f.hier.at[CG_MEMORY].root), "%s", s->path);
	f.hier.at[CG_MEMORY].v2 = f.hier.pure_v2 = true;
	assert_int_equal(dir_make(s->fd, "g", 0700), 0);
	f.dir = openat(s->fd, "g", O_RDONLY | O_DIRECTORY);
	set(&f, "memory.events", "low 0\nhigh 3\nmax 5\noom 1\noom_kill 2\n");
	set(&f, "memory.stat",
		"anon 1\ninactive_file 1048576\nactive_file 10485760\nslab_reclaimable 2097152\npgscan 77\n");
	set(&f, "memory.high", own_high);
	set_bytes(&f, "memory.max", 100 * MIB);
	set_bytes(&f, "memory.current", usage);
	f.rules.len = 1;
	f.rules.rule[0] = (struct rule){.signal = SIGNAL_MEMORY_WORKING_SET, .threshold = 8000};
	sense_init(&f.sense);
	assert_int_equal(sense_open(&f.sense, &f.hier, "/g", &f.rules), 0);
	return &f;
}

static void fix_end(struct fix *f)
{
	sense_close(&f->sense);
	close(f->dir);
}

static void test_samples(void **state)
{
	struct fix *f = fix_new(state, "max\n", 50 * MIB);
	struct sample s = {.run = 7};

	sense_read(&f->sense, false, &s);
	assert_int_equal(s.run, 7);
	assert_int_equal(s.in[INPUT_MEMORY_USAGE], 5000);
	assert_int_equal(s.in[INPUT_WORKING_SET], 4900);
	assert_int_equal(s.in[INPUT_UNRECLAIMABLE], 3700);
	assert_int_equal(s.in[INPUT_RECLAIM], 77);
	assert_int_equal(s.in[INPUT_EVENTS_MAX], 5);
	assert_int_equal(s.in[INPUT_EVENTS_OOM_KILL], 2);
	assert_false(s.has >> INPUT_PIDS_MAX & 1);
	fix_end(f);
}

/* What no rule needs is read for people alone. */
static void test_what_is_drawn(void **state)
{
	struct fix *f = fix_new(state, "max\n", 50 * MIB);
	struct sample s = {0};

	snprintf(f->hier.at[CG_PIDS].root, sizeof(f->hier.at[CG_PIDS].root), "%s",
		f->hier.at[CG_MEMORY].root);
	set(f, "pids.current", "29\n");
	assert_int_equal(sense_open(&f->sense, &f->hier, "/g", &f->rules), 0);
	sense_read(&f->sense, false, &s);
	assert_int_equal(f->sense.pids, 0);
	assert_int_equal(f->sense.usage, 50 * MIB);
	sense_read(&f->sense, true, &s);
	assert_int_equal(f->sense.pids, 29);
	fix_end(f);
}

static void test_no_limit_no_share(void **state)
{
	struct fix *f = fix_new(state, "max\n", 50 * MIB);
	struct sample s = {0};

	sense_close(&f->sense);
	set(f, "memory.max", "max\n");
	assert_int_equal(sense_open(&f->sense, &f->hier, "/g", &f->rules), 0);
	sense_read(&f->sense, false, &s);
	assert_false(s.has >> INPUT_MEMORY_USAGE & 1);
	sense_sleep(&f->sense);
	assert_int_equal(high(f), UINT64_MAX);
	fix_end(f);
}

static void assert_mark(
	void **state, const char *own, uint64_t usage, uint64_t mark, uint64_t after)
{
	struct fix *f = fix_new(state, own, usage);
	struct sample s = {0};

	sense_read(&f->sense, false, &s);
	sense_sleep(&f->sense);
	assert_int_equal(high(f), mark);
	sense_wake(&f->sense);
	assert_int_equal(high(f), after);
	sense_sleep(&f->sense); /* and whoever closes it asleep puts it back, too */
	sense_close(&f->sense);
	assert_int_equal(high(f), after);
	fix_end(f);
}

static void test_the_mark(void **state)
{
	const uint64_t at = 100 * MIB / 10000 * 8000;

	assert_mark(state, "max\n", 50 * MIB, at, UINT64_MAX);
	/* the container's own is lower: it tells by itself */
	assert_mark(state, "62914560\n", 50 * MIB, 60 * MIB, 60 * MIB);
	assert_mark(state, "94371840\n", 50 * MIB, at, 90 * MIB);
	/* above for cache alone: half way to the limit; near to it, memory.events tells */
	assert_mark(state, "max\n", 90 * MIB, 95 * MIB, UINT64_MAX);
	assert_mark(state, "max\n", 100 * MIB - 4096, UINT64_MAX, UINT64_MAX);
}

/* A successor finds the mark in the file; what was there before it, its predecessor has noted. */
static void test_a_successor_knows_what_it_was(void **state)
{
	struct fix *f = fix_new(state, "83886080\n", 50 * MIB);

	sense_close(&f->sense);
	f->sense.high_known = true;
	f->sense.high_was = 90 * MIB;
	assert_int_equal(sense_open(&f->sense, &f->hier, "/g", &f->rules), 0);
	sense_wake(&f->sense);
	assert_int_equal(high(f), 90 * MIB);
	fix_end(f);
}

/* v1: who is near its limit of processes is looked at, since nobody tells of the fork that fails.
 */
static void test_crowded(void **state)
{
	struct fix *f = fix_new(state, "max\n", 50 * MIB);
	const struct {
		const char *now, *max;
		bool crowded;
	} cases[] = {{"29\n", "60\n", false}, {"30\n", "60\n", true}, {"61\n", "60\n", true},
		{"900\n", "max\n", false}};

	snprintf(f->hier.at[CG_PIDS].root, sizeof(f->hier.at[CG_PIDS].root), "%s",
		f->hier.at[CG_MEMORY].root);
	f->rules.rule[0] = (struct rule){.signal = SIGNAL_PIDS_MAX};
	for (size_t i = 0; i < array_size(cases); i++) {
		struct sample s = {0};

		set(f, "pids.current", cases[i].now);
		set(f, "pids.max", cases[i].max);
		set(f, "pids.events", "max 4\n");
		assert_int_equal(sense_open(&f->sense, &f->hier, "/g", &f->rules), 0);
		sense_read(&f->sense, false, &s);
		assert_int_equal(s.in[INPUT_PIDS_MAX], 4);
		assert_int_equal(sense_crowded(&f->sense), cases[i].crowded);
	}
	f->rules.rule[0].signal = SIGNAL_MEMORY_WORKING_SET;
	assert_int_equal(sense_open(&f->sense, &f->hier, "/g", &f->rules), 0);
	assert_false(sense_crowded(&f->sense)); /* no rule is about it */
	fix_end(f);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_samples),
		TEST(test_what_is_drawn),
		TEST(test_no_limit_no_share),
		TEST(test_the_mark),
		TEST(test_crowded),
		TEST(test_a_successor_knows_what_it_was),
	};

	return cmocka_run_group_tests_name("sense", tests, NULL, NULL);
}
