/* What rules need that this host, or this container, has not. */
#pragma once

#include "ipc/cghier.h"
#include "monitor/rules.h"

/* The container that they are for. */
struct rule_place {
	const struct cghier *hier;
	bool limits_known;	 /* else nothing is asked of them */
	bool memory, pids, cpus; /* it has a limit of that */
	bool watchdog;		 /* somebody says WATCHDOG=1 */
	bool probes;
	uint64_t stop_grace_usec;
};

enum rules_outcome {
	RULES_FINE,
	RULES_ROUNDED /* windows of pressure, to what the kernel takes */
};

/* An outcome, or a fault (-EINVAL) that names the first rule that can't work there. One that came
 * with a set (bit n of of_set: rule n did) is left out of r instead, and told in left_out, which is
 * empty if there is none. */
int rules_check(struct rules *r, uint32_t of_set, const struct rule_place *place, char *left_out,
	size_t size);
