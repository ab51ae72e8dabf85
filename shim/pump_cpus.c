/* On which CPUs the pump runs. */
#include <sched.h>
#include <unistd.h>

#include "shim/pump.h"

/* What does not fit (a host with more CPUs than a set has, a PID 1 that has just ended) leaves
 * things as they were. */
void pump_run_beside(struct pump *p, pid_t pid1)
{
	cpu_set_t ours, both;

	if (!p->running || pid1 <= 0 || sched_getaffinity(getpid(), sizeof(ours), &ours) < 0 ||
		sched_getaffinity(pid1, sizeof(both), &both) < 0)
		return;
	CPU_AND(&both, &both, &ours);
	if (CPU_COUNT(&both) > 0)
		pthread_setaffinity_np(p->thread, sizeof(both), &both);
}
