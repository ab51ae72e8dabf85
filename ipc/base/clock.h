/* All time is uint64_t microseconds. Delays use the monotonic clock, events the boottime clock (it
 * counts suspend); wall time is only ever a label. */
#pragma once

#include <stdint.h>
#include <time.h>

#define USEC_PER_SEC  1000000ULL
#define USEC_PER_MSEC 1000ULL

static inline uint64_t clock_usec(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts); /* cannot fail for a clock that exists */
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

static inline uint64_t now_mono(void)
{
	return clock_usec(CLOCK_MONOTONIC);
}

static inline uint64_t now_boot(void)
{
	return clock_usec(CLOCK_BOOTTIME);
}

static inline uint64_t now_real(void)
{
	return clock_usec(CLOCK_REALTIME);
}
