/* The names of resource limits: the short one (nofile), the OCI one (RLIMIT_NOFILE), the kernel's
 * number. */
#pragma once

#include <stdint.h>

struct rlimit_row {
	const char *name, *type;
	uint32_t resource; /* RLIMIT_* */
};

extern const struct rlimit_row rlimit_rows[]; /* ends with a NULL name */

/* The short name, "?" when there is none. */
const char *rlimit_name(uint32_t resource);
