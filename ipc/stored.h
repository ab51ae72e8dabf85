/* Names of the descriptors that a service has stored (FDSTORE=1): the keeper holds them by number,
 * the file `stored` in the state directory says what they are called. Written by the shim before a
 * descriptor is deposited, so that none is ever held without its name. */
#pragma once

#include <stdint.h>

#include "ipc/plan.h"

struct stored_name {
	uint64_t key; /* HELD_STORED's; from 1, never used again */
	char name[PLAN_NAME_MAX + 1];
};

/* 0 or a fault. */
int stored_write(int state_dirfd, const struct stored_name *list, unsigned count);

/* The count, at most PLAN_STORED_MAX, or a fault; a missing file is empty. */
int stored_read(int state_dirfd, struct stored_name list[PLAN_STORED_MAX]);
