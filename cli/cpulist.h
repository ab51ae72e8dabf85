/* Lists of CPUs or memory nodes, as the kernel writes them: "0-3,7". */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CPULIST_MAX 8192 /* numbers below this */

struct cpulist {
	uint64_t bits[CPULIST_MAX / 64];
};

/* The whole text or nothing: 0, or -EINVAL (no fault text). An empty list is none. */
int cpulist_parse(const char *text, struct cpulist *ret);

/* The first number of want that have lacks; -1: it has all. */
int cpulist_missing(const struct cpulist *want, const struct cpulist *have);
