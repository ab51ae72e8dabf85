#include "cli/figures.h"

#include <inttypes.h>
#include <stdio.h>

#include "ipc/base/mem.h"

#define KIB 1024u

const char *const pressure_names[PRESSURE_RESOURCES] = {"cpu", "memory", "io"};
const char *const pressure_kinds[PRESSURE_KINDS] = {"some", "full"};

#define USEC  "seconds", 1e-6
#define BYTES "bytes", 1
#define TIMES "", 1

const struct figure figures[] = {
	{CGSTAT_CPU_USAGE, "cpu_usage_usec", "cpu_usage_seconds", USEC, true, "CPU time used."},
	{CGSTAT_CPU_USER, "cpu_user_usec", "cpu_user_seconds", USEC, true,
		"CPU time in user mode."},
	{CGSTAT_CPU_SYSTEM, "cpu_system_usec", "cpu_system_seconds", USEC, true,
		"CPU time in the kernel."},
	{CGSTAT_CPU_PERIODS, "cpu_periods", "cpu_periods", TIMES, true,
		"Periods of the CPU limit."},
	{CGSTAT_CPU_THROTTLED_PERIODS, "cpu_throttled_periods", "cpu_throttled_periods", TIMES,
		true, "Periods in which the CPU limit was reached."},
	{CGSTAT_CPU_THROTTLED, "cpu_throttled_usec", "cpu_throttled_seconds", USEC, true,
		"Time held back by the CPU limit."},
	{CGSTAT_CPU_LIMIT, "cpu_limit_milli", "cpu_limit", "", 1e-3, false,
		"Limit, in CPUs; absent: none."},
	{CGSTAT_MEM_CURRENT, "memory_current_bytes", "memory_bytes", BYTES, false,
		"Memory charged to the container."},
	{CGSTAT_MEM_PEAK, "memory_peak_bytes", "memory_peak_bytes", BYTES, false,
		"The most memory charged so far."},
	{CGSTAT_MEM_LIMIT, "memory_limit_bytes", "memory_limit_bytes", BYTES, false,
		"Memory limit; absent: none."},
	{CGSTAT_MEM_HIGH, "memory_high_bytes", "memory_high_bytes", BYTES, false,
		"Memory above which it is slowed down; absent: none."},
	{CGSTAT_MEM_SWAP, "memory_swap_bytes", "memory_swap_bytes", BYTES, false,
		"Memory in swap."},
	{CGSTAT_MEM_ANON, "memory_anon_bytes", "memory_anon_bytes", BYTES, false,
		"Anonymous memory."},
	{CGSTAT_MEM_FILE, "memory_file_bytes", "memory_file_bytes", BYTES, false,
		"Page cache, tmpfs included."},
	{CGSTAT_MEM_KERNEL, "memory_kernel_bytes", "memory_kernel_bytes", BYTES, false,
		"Memory of the kernel for the container."},
	{CGSTAT_MEM_EVENTS_HIGH, "memory_events_high", "memory_events_high", TIMES, true,
		"Times above memory.high."},
	{CGSTAT_MEM_EVENTS_MAX, "memory_events_max", "memory_events_max", TIMES, true,
		"Times at the memory limit."},
	{CGSTAT_MEM_EVENTS_OOM, "memory_events_oom", "memory_events_oom", TIMES, true,
		"Times out of memory."},
	{CGSTAT_MEM_EVENTS_OOM_KILL, "memory_events_oom_kill", "memory_events_oom_kill", TIMES,
		true, "Processes killed for lack of memory."},
	{CGSTAT_PIDS_CURRENT, "pids_current", "pids", TIMES, false, "Tasks."},
	{CGSTAT_PIDS_LIMIT, "pids_limit", "pids_limit", TIMES, false,
		"Limit of tasks; absent: none."},
	{CGSTAT_PIDS_EVENTS_MAX, "pids_events_max", "pids_events_max", TIMES, true,
		"Forks refused by the limit."},
	{CGSTAT_IO_READ, "io_read_bytes", "io_read_bytes", BYTES, true, "Bytes read from disks."},
	{CGSTAT_IO_WRITE, "io_write_bytes", "io_written_bytes", BYTES, true,
		"Bytes written to disks."},
};
const size_t figures_len = array_size(figures);

void figure_bytes(char *dst, size_t size, uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double n = (double)bytes;
	size_t u = 0;

	while (n >= 999.5 && u + 1 < array_size(units)) {
		n /= KIB;
		u++;
	}
	snprintf(dst, size, n < 9.95 && u ? "%.1f %s" : "%.0f %s", n, units[u]);
}
