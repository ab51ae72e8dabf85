/* A value in config.json together with its name, so that every complaint says where it is. The one
 * place that asks json-c for types. null counts as absent, as encoders write it for empty. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_object;

struct node {
	struct json_object *o; /* borrowed from the document */
	char name[200];	       /* "process.rlimits[2].type" */
};

/* Each: 1 there, 0 absent, or a fault that names the field and what it should be. */
int node_object(const struct node *of, const char *key, struct node *ret);
int node_array(const struct node *of, const char *key, struct node *ret);
int node_string(const struct node *of, const char *key, const char **ret); /* borrowed */
int node_bool(const struct node *of, const char *key, bool *ret);
int node_uint(const struct node *of, const char *key, uint64_t min, uint64_t max, uint64_t *ret);
int node_int(const struct node *of, const char *key, int64_t min, int64_t max, int64_t *ret);

/* The i-th element of an array: 0 or a fault when it is not of that type. */
size_t node_count(const struct node *array);
int node_object_at(const struct node *array, size_t i, struct node *ret);
int node_string_at(const struct node *array, size_t i, const char **ret);
int node_uint_at(const struct node *array, size_t i, uint64_t max, uint64_t *ret);

/* Calls f for every member that is not null. Stops at the first fault and returns it. */
int node_each(const struct node *of, int (*f)(void *ctx, const char *key, const struct node *value),
	void *ctx);
bool node_is_string(const struct node *value);
bool node_empty(const struct node *value);	 /* {}, [], "", false, 0 */
const char *node_text(const struct node *value); /* a string's bytes, else "" */

/* "config.json: NAME[.KEY]: …" */
int node_fault(const struct node *of, const char *key, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
