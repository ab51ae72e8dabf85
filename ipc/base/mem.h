/* Heap memory that frees itself. */
#pragma once

#include <stdlib.h>

static inline void mem_freep(void *p)
{
	free(*(void **)p);
}

#define auto_free __attribute__((cleanup(mem_freep)))

/* Returns *p and leaves NULL: ownership moves to the caller. */
#define take(p)                             \
	({                                  \
		__typeof__(p) taken_ = (p); \
		(p) = NULL;                 \
		taken_;                     \
	})

#define array_size(a) (sizeof(a) / sizeof((a)[0]))
