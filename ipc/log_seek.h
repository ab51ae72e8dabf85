/* Places in a container's output: by time, and by lines from its end. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/logfile.h"

/* Raises at[] to the first byte of each stream that came at this time or later, by the wall clock
 * of then. 0 or a fault. */
int log_seek_time(int dirfd, uint64_t real_usec, uint64_t at[LOG_STREAMS]);

/* Raises at[] to where the last `lines` of the wanted streams begin, both counted as one. Of each
 * stream at most max_bytes are looked at (then it is fewer lines). 0 or a fault. */
int log_seek_lines(int dirfd, const bool wanted[LOG_STREAMS], uint64_t lines, uint64_t max_bytes,
	uint64_t at[LOG_STREAMS]);
