/* Text -> value, whole string or nothing. Every function returns 0, or -EINVAL with the fault text
 * `NAME "VALUE": what is wrong (use …)`, where name is how the user calls the thing. */
#pragma once

#include <stdint.h>

int parse_u64(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *ret);

/* Bytes: "4096", "64k", "512M", "2g", "1.5G" (powers of 1024). */
int parse_size(const char *name, const char *text, uint64_t *ret);

/* Time to microseconds: "250us", "100ms", "1.5s", "10" (seconds), "2m" or "2min", "1h". */
int parse_duration(const char *name, const char *text, uint64_t *ret);

/* CPUs to thousandths: "0.5" -> 500, "2" -> 2000. */
int parse_cpus(const char *name, const char *text, uint64_t *ret);
