/* The end of what a container wrote, both streams as they came. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ipc/logfile.h"

/* Of what lies between the offsets `from` and `end` of each stream the last bytes that fit `size`:
 * their number, or a fault. What is no longer on disk is not there. */
int64_t log_tail(int log_dirfd, const uint64_t from[LOG_STREAMS], const uint64_t end[LOG_STREAMS],
	char *ret, size_t size);
