/* The keeper's file `status` in the state directory: who supervises right now. Two slots written in
 * turn; the valid one with the higher seq counts. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ipc/sum.h"

struct status_slot {
	uint64_t seq;
	int32_t keeper_pid, shim_pid;
	uint32_t revivals;
	uint32_t pad;
	uint64_t boot_usec;
	uint8_t reserved[28];
	uint32_t sum; /* status_sum() */
};
_Static_assert(sizeof(struct status_slot) == 64, "two slots are 128 bytes");

static inline uint32_t status_sum(const struct status_slot *s)
{
	return sum_bytes(s, offsetof(struct status_slot, sum));
}
