/* A service without a libc that waits for ever. */
#include <sys/syscall.h>

void stay_start(void);

__attribute__((noreturn, used)) void stay_start(void)
{
	long result;

	for (;;)
		__asm__ volatile("syscall"
				 : "=a"(result)
				 : "0"(SYS_pause)
				 : "rcx", "r11", "memory");
}
