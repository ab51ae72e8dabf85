/* A service without a libc: its first instructions print CLOCK_MONOTONIC in microseconds and the
 * pid, then it waits for signals. What it prints is the time of the restart and nothing else. */
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>

void stamp_start(void);

static long call(long n, long a, long b, long c)
{
	long r;

	__asm__ volatile("syscall"
			 : "=a"(r)
			 : "a"(n), "D"(a), "S"(b), "d"(c)
			 : "rcx", "r11", "memory");
	return r;
}

static char *number(char *end, uint64_t n)
{
	do
		*--end = (char)('0' + n % 10);
	while (n /= 10);
	return end;
}

__attribute__((noreturn, used, force_align_arg_pointer)) void stamp_start(void)
{
	struct timespec ts;
	char line[64], *p = line + sizeof(line);

	call(SYS_clock_gettime, CLOCK_MONOTONIC, (long)(intptr_t)&ts, 0);
	*--p = '\n';
	p = number(p, (uint64_t)call(SYS_getpid, 0, 0, 0));
	*--p = ' ';
	p = number(p, (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000);
	call(SYS_write, 1, (long)(intptr_t)p, line + sizeof(line) - p);
	for (;;)
		call(SYS_pause, 0, 0, 0);
}
