/* sources: monitor/cgstat.c ipc */
/* The figures of a group, out of files as kernels write them. */
#include "monitor/cgstat.h"

#include <string.h>
#include <sys/stat.h>

#include "ipc/base/file.h"
#include "tests/unit/scratch.h"

static const char cpu_stat[] = "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n"
			       "nr_periods 9\nnr_throttled 4\nthrottled_usec 77\n";
static const char pressure_text[] = "some avg10=12.05 avg60=3.40 avg300=0.10 total=987654321\n"
				    "full avg10=0.00 avg60=100.00 avg300=0.00 total=12\n";

static void test_numbers(void **unused)
{
	struct cgstat s = {0};

	cgstat_take_number(&s, CGSTAT_PIDS_CURRENT, "17\n");
	assert_true(cgstat_has(&s, CGSTAT_PIDS_CURRENT));
	assert_int_equal(s.value[CGSTAT_PIDS_CURRENT], 17);
	cgstat_take_number(&s, CGSTAT_MEM_LIMIT, "max\n");
	cgstat_take_number(&s, CGSTAT_MEM_LIMIT, "");
	cgstat_take_number(&s, CGSTAT_MEM_LIMIT, "-1\n");
	cgstat_take_number(&s, CGSTAT_MEM_LIMIT, "12x");
	cgstat_take_number(&s, CGSTAT_MEM_LIMIT, "99999999999999999999\n");
	assert_false(cgstat_has(&s, CGSTAT_MEM_LIMIT));
}

static void test_keys(void **unused)
{
	uint64_t n;

	assert_true(cgstat_find("oom_kill_disable 5\noom_kill 3\n", "oom_kill", ' ', &n));
	assert_int_equal(n, 3);
	assert_false(cgstat_find("xoom_kill 3\noom_kill\noom_kill x\n", "oom_kill", ' ', &n));
	assert_true(cgstat_find(
		"8:0 rbytes=5 wbytes=7 dbytes=0\n8:16 rbytes=10 wbytes=20\n", "rbytes", '=', &n));
	assert_int_equal(n, 15);
	assert_false(cgstat_find("", "a", ' ', &n));
}

static void test_quota(void **unused)
{
	struct cgstat s = {0};

	cgstat_take_cpu_max(&s, "max 100000\n");
	assert_false(cgstat_has(&s, CGSTAT_CPU_LIMIT));
	cgstat_take_cpu_max(&s, "50000 0\n");
	assert_false(cgstat_has(&s, CGSTAT_CPU_LIMIT));
	cgstat_take_cpu_max(&s, "150000 100000\n");
	assert_int_equal(s.value[CGSTAT_CPU_LIMIT], 1500);
}

static void test_blkio(void **unused)
{
	struct cgstat s = {0};

	cgstat_take_blkio(&s, "8:0 Read 4096\n8:0 Write 1\n8:0 Sync 9\n8:0 Total 4097\n"
			      "8:16 Read 4\n8:16 Write 2\nTotal 4103\n");
	assert_int_equal(s.value[CGSTAT_IO_READ], 4100);
	assert_int_equal(s.value[CGSTAT_IO_WRITE], 3);
}

static uint64_t some(const struct cgstat *s, enum cgstat_kind k, enum cgstat_figure f)
{
	assert_true(cgstat_has(s, cgstat_pressure(PRESSURE_MEMORY, k, f)));
	return s->value[cgstat_pressure(PRESSURE_MEMORY, k, f)];
}

static void test_pressure(void **unused)
{
	struct cgstat s = {0}, t = {0};

	cgstat_take_pressure(&s, PRESSURE_MEMORY, pressure_text);
	assert_int_equal(some(&s, PRESSURE_SOME, PRESSURE_AVG10), 1205);
	assert_int_equal(some(&s, PRESSURE_SOME, PRESSURE_AVG60), 340);
	assert_int_equal(some(&s, PRESSURE_SOME, PRESSURE_TOTAL), 987654321);
	assert_int_equal(some(&s, PRESSURE_FULL, PRESSURE_AVG60), 10000);
	assert_int_equal(some(&s, PRESSURE_FULL, PRESSURE_TOTAL), 12);
	/* older kernels tell no "full" of the CPU */
	cgstat_take_pressure(&t, PRESSURE_CPU, "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
	assert_true(cgstat_has(&t, cgstat_pressure(PRESSURE_CPU, PRESSURE_SOME, PRESSURE_TOTAL)));
	assert_false(cgstat_has(&t, cgstat_pressure(PRESSURE_CPU, PRESSURE_FULL, PRESSURE_TOTAL)));
	cgstat_take_pressure(&t, PRESSURE_IO, "some avg10=x total=\n");
	assert_false(cgstat_has(&t, cgstat_pressure(PRESSURE_IO, PRESSURE_SOME, PRESSURE_TOTAL)));
}

static void put(int dir, const char *file, const char *text)
{
	assert_int_equal(file_replace(dir, file, text, strlen(text), 0600), 0);
}

static void test_v2_tree(void **state)
{
	struct scratch *d = *state;
	struct cghier h = {.pure_v2 = true};
	struct cgstat_dirs dirs;
	struct cgstat s;

	snprintf(h.unified, sizeof(h.unified), "%s", d->path);
	for (int i = 0; i < CG_CONTROLLERS; i++) {
		h.at[i].v2 = true;
		snprintf(h.at[i].root, sizeof(h.at[i].root), "%s", d->path);
	}
	mkdirat(d->fd, "group", 0700);
	put(d->fd, "group/cpu.stat", cpu_stat);
	put(d->fd, "group/cpu.max", "50000 100000\n");
	put(d->fd, "group/memory.current", "1048576\n");
	put(d->fd, "group/memory.max", "max\n");
	put(d->fd, "group/memory.events", "low 0\nhigh 5\nmax 6\noom 7\noom_kill 8\n");
	put(d->fd, "group/memory.stat", "anon 100\nfile 200\nkernel 300\nfile_mapped 9\n");
	put(d->fd, "group/pids.max", "64\n");
	put(d->fd, "group/io.stat", "");
	put(d->fd, "group/memory.pressure", pressure_text);
	assert_int_equal(cgstat_open(&dirs, &h, "/group"), CGDIRS);
	cgstat_read(&dirs, &s);
	assert_int_equal(s.value[CGSTAT_CPU_USAGE], 1500);
	assert_int_equal(s.value[CGSTAT_CPU_THROTTLED], 77);
	assert_int_equal(s.value[CGSTAT_CPU_LIMIT], 500);
	assert_int_equal(s.value[CGSTAT_MEM_FILE], 200);
	assert_int_equal(s.value[CGSTAT_MEM_EVENTS_OOM_KILL], 8);
	assert_int_equal(s.value[CGSTAT_PIDS_LIMIT], 64);
	assert_true(cgstat_has(&s, CGSTAT_IO_READ)); /* none was done: that is known */
	assert_false(cgstat_has(&s, CGSTAT_MEM_LIMIT));
	assert_false(cgstat_has(&s, CGSTAT_MEM_PEAK)); /* no such file */
	assert_int_equal(some(&s, PRESSURE_SOME, PRESSURE_AVG10), 1205);
	cgstat_close(&dirs);
	cgstat_read(&dirs, &s);
	assert_int_equal(s.has, 0);
}

/* A hybrid host: memory and cpu on v1, cpu time and pressure from the v2 tree. */
static void test_hybrid(void **state)
{
	struct scratch *d = *state;
	struct cghier h = {0};
	struct cgstat_dirs dirs;
	struct cgstat s;

	snprintf(h.unified, sizeof(h.unified), "%.50s/u", d->path);
	snprintf(h.at[CG_MEMORY].root, sizeof(h.at[0].root), "%.50s/m", d->path);
	snprintf(h.at[CG_CPU].root, sizeof(h.at[0].root), "%.50s/c", d->path);
	for (const char *dir = "u\0m\0c\0"; *dir; dir += 2) {
		char path[16];

		snprintf(path, sizeof(path), "%s/g", dir);
		mkdirat(d->fd, dir, 0700);
		mkdirat(d->fd, path, 0700);
	}
	put(d->fd, "u/g/cpu.stat", "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n");
	put(d->fd, "m/g/memory.usage_in_bytes", "4096\n");
	put(d->fd, "m/g/memory.limit_in_bytes", "9223372036854771712\n");
	put(d->fd, "m/g/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
	put(d->fd, "m/g/memory.stat", "rss 1\ntotal_rss 100\ntotal_cache 200\n");
	put(d->fd, "c/g/cpu.stat", "nr_periods 3\nnr_throttled 2\nthrottled_time 5000\n");
	put(d->fd, "c/g/cpu.cfs_quota_us", "25000\n");
	put(d->fd, "c/g/cpu.cfs_period_us", "100000\n");
	assert_int_equal(cgstat_open(&dirs, &h, "/g"), 3);
	cgstat_read(&dirs, &s);
	assert_int_equal(s.value[CGSTAT_CPU_USAGE], 1500);
	assert_int_equal(s.value[CGSTAT_CPU_THROTTLED], 5);
	assert_int_equal(s.value[CGSTAT_CPU_LIMIT], 250);
	assert_int_equal(s.value[CGSTAT_MEM_CURRENT], 4096);
	assert_int_equal(s.value[CGSTAT_MEM_ANON], 100);
	assert_int_equal(s.value[CGSTAT_MEM_EVENTS_OOM_KILL], 2);
	assert_false(cgstat_has(&s, CGSTAT_MEM_LIMIT)); /* v1's way to say none */
	assert_false(cgstat_has(&s, CGSTAT_PIDS_CURRENT));
	cgstat_close(&dirs);
	assert_int_equal(cgstat_open(&dirs, &h, "/nothing"), 0);
	cgstat_close(&dirs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_quota),
		cmocka_unit_test(test_blkio),
		cmocka_unit_test(test_pressure),
		in_scratch(test_v2_tree),
		in_scratch(test_hybrid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
