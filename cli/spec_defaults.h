/* What a container has when nobody says otherwise: tables, each ended by an empty row. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct spec_default_mount {
	const char *type, *source, *target, *options;
};

struct spec_default_limit {
	const char *name;
	int resource;
	uint64_t soft, hard;
};

extern const struct spec_default_mount spec_default_mounts[];
extern const struct spec_default_limit spec_default_limits[];
extern const char *const spec_default_namespaces[];
/* Leaks about the host, or handles on it; a path that a kernel does not have costs nothing. */
extern const char *const spec_default_masked[];
extern const char *const spec_default_read_only[];

/* One more masked path for each CPU that tells its temperature; false when there is none. */
bool spec_default_thermal(unsigned cpu, char *ret, size_t size);
