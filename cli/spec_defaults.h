/* What a container has when nobody says otherwise: tables, each ended by an empty row. */
#pragma once

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

/* How json-c writes the document: for launch, and for a reader's eyes. */
#define SPEC_WRITTEN JSON_C_TO_STRING_NOSLASHESCAPE
#define SPEC_PRINTED (SPEC_WRITTEN | JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED)
