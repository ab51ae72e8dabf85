/* Points in time as people write them. */
#pragma once

#include <stdint.h>

/* To microseconds since 1970: "10m" (so long ago; a unit is needed), "2026-01-31", "2026-01-31
 * 12:30", "2026-01-31T12:30:05.25Z" or with an offset "+01:00" (none: local time), "@1700000000.5".
 * 0, or -EINVAL with the fault text. */
int when_parse(const char *name, const char *text, uint64_t *ret);

#define WHEN_TEXT 32
/* "2026-01-31T12:30:05.250000Z" */
void when_text(char ret[WHEN_TEXT], uint64_t real_usec);
