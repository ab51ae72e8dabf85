#include "ipc/base/slice.h"

#include <linux/sched.h>
#include <linux/sched/types.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool stood_back;

static bool get(struct sched_attr *attr)
{
	return syscall(SYS_sched_getattr, 0, attr, sizeof(*attr), 0) == 0;
}

static bool set(struct sched_attr *attr)
{
	return syscall(SYS_sched_setattr, 0, attr, 0) == 0;
}

void slice_stand_back(void)
{
	struct sched_attr attr = {.size = sizeof(attr)};

	if (!get(&attr) || attr.sched_policy != SCHED_NORMAL)
		return;
	attr.sched_policy = SCHED_BATCH;
	stood_back = set(&attr);
}

void slice_come_forward(void)
{
	struct sched_attr attr = {.size = sizeof(attr)};

	if (!stood_back || !get(&attr))
		return;
	attr.sched_policy = SCHED_NORMAL;
	set(&attr);
}

void slice_ask(uint64_t usec)
{
	struct sched_attr attr = {.size = sizeof(attr)};

	if (!get(&attr))
		return;
	attr.sched_runtime = usec * 1000; /* nsec */
	set(&attr);
}
