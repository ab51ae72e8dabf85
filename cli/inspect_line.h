/* Lines of `holdfast inspect`: a key and what there is to say. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* "  KEY          TEXT", everything in it escaped. */
void inspect_line(const char *key, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The same for bytes that a container wrote; what is over 4096 is cut. */
void inspect_raw(const char *key, const char *bytes, size_t len);

/* "1.5 MiB" */
void inspect_bytes(char *ret, size_t size, uint64_t bytes);
