/* System calls that leave errno alone. A run's child shares PID 1's memory up to its exec, and
 * errno is one variable of both: whatever the child asks of the kernel goes this way. */
#pragma once

#include <sys/syscall.h>

/* The kernel's own answer: -4095 to -1 is an errno. */
long raw_call5(long number, long a, long b, long c, long d, long e);

/* raw_call(SYS_chdir, path): a number and at most five arguments, integers or pointers. */
#define raw_call(...) RAW_FILLED(__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define RAW_FILLED(number, a, b, c, d, e, ...) \
	raw_call5(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e))

/* dup2(2), which newer architectures do not have. */
int raw_dup2(int fd, int to);
