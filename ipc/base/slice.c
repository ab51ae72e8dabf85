#include "ipc/base/slice.h"

#include <linux/sched/types.h>
#include <sys/syscall.h>
#include <unistd.h>

void slice_ask(uint64_t usec)
{
	struct sched_attr attr = {.size = sizeof(attr)};

	if (syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0) < 0)
		return;
	attr.sched_runtime = usec * 1000; /* nsec */
	syscall(SYS_sched_setattr, 0, &attr, 0);
}
