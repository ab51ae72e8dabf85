/* FNV-1a, 32 bit: tells a torn or stale record from a whole one; no protection against forgery. */
#pragma once

#include <stddef.h>
#include <stdint.h>

static inline uint32_t sum_bytes(const void *data, size_t len)
{
	const unsigned char *p = data;
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 16777619u;
	return h;
}
