/* How soon a stream is looked at again after bytes of it were moved. At once, as a rule. In full
 * flow what comes within a millisecond is worth one splice more than each page is. And line after
 * line, each of which would wake the thread: what a flood costs is then ours to pay, and its
 * neighbours'; so many in a row, and they are moved every few milliseconds. The writer never waits
 * for us: what would fill the pipe meanwhile is moved at once. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct pace {
	uint64_t moved_at; /* monotonic */
	unsigned small;	   /* little was moved so many times in quick succession */
};

/* After n bytes, more than 0, from a pipe that holds so many; msec. Pure. */
int pace_msec(struct pace *p, int64_t n, int pipe_size, uint64_t now);
