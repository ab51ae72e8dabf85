/* config.json while it is being made: the document, the sections that are always there, and the
 * files that write into it. Only spec_*.c know json-c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <json-c/json.h>

#include "cli/spec.h"

#define CONFIG_MAX (4u << 20)

struct doc {
	struct json_object *top, *process, *user, *root, *linux_, *resources, *mounts, *env;
	const struct spec *spec;
	bool ours; /* written from scratch: our defaults apply */
};

/* o[key] = value, in the place of what was there. */
void text_set(struct json_object *o, const char *key, const char *value);
void number_set(struct json_object *o, const char *key, uint64_t value);

/* o[key], made when it is not there or null; a fault when it is something else. Borrowed. */
int section(struct json_object *o, const char *key, enum json_type type, struct json_object **ret);

/* The string o[key], NULL when o is no object or there is no string. Borrowed. */
const char *text_get(struct json_object *o, const char *key);

/* An object from text, whose name is for messages: 0 or a fault. The caller puts *ret. */
int config_parse(const char *name, const char *data, size_t len, struct json_object **ret);

/* Each: 0 or a fault. */
int limits_apply(struct doc *d);
int devices_apply(struct doc *d);
int setup_apply(struct doc *d); /* labels, limits and scores of the process */
int security_apply(struct doc *d);

/* A profile of system calls (the OCI object, or docker's) as linux.seccomp. bounding: names of the
 * capabilities that its conditions ask for. 0 or a fault; the caller puts *ret. */
int seccomp_profile(const char *path, const struct json_object *bounding, struct json_object **ret);
