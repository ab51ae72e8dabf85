#include "shim/launch/node.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ipc/base/fault.h"

static void child_name(const struct node *of, const char *key, char *buf, size_t size)
{
	size_t n = strnlen(of->name, sizeof(of->name));

	/* a name too long to print is cut; it only serves messages */
	if (n + strlen(key) + 2 > size)
		key = "…";
	if (n + strlen(key) + 2 > size)
		n = 0;
	memcpy(buf, of->name, n);
	if (n > 0 && key[0])
		buf[n++] = '.';
	memcpy(buf + n, key, strlen(key) + 1);
}

int node_fault(const struct node *of, const char *key, const char *fmt, ...)
{
	char name[256], text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	child_name(of, key ? key : "", name, sizeof(name));
	return fault_plain(-EINVAL, "config.json: %s%s%s", name, text[0] == '"' ? " " : ": ", text);
}

static int node_get(const struct node *of, const char *key, enum json_type type, const char *word,
	struct json_object **ret)
{
	if (!json_object_object_get_ex(of->o, key, ret) || !*ret)
		return 0;
	if (!json_object_is_type(*ret, type))
		return node_fault(
			of, key, "%.60s is not %s", json_object_to_json_string(*ret), word);
	return 1;
}

int node_object(const struct node *of, const char *key, struct node *ret)
{
	int r = node_get(of, key, json_type_object, "an object", &ret->o);

	child_name(of, key, ret->name, sizeof(ret->name));
	return r;
}

int node_array(const struct node *of, const char *key, struct node *ret)
{
	int r = node_get(of, key, json_type_array, "an array", &ret->o);

	child_name(of, key, ret->name, sizeof(ret->name));
	return r;
}

static int string_of(
	const struct node *of, const char *key, struct json_object *o, const char **ret)
{
	*ret = json_object_get_string(o);
	if (strlen(*ret) != (size_t)json_object_get_string_len(o))
		return node_fault(of, key, "\"%.60s…\": has a NUL byte in it", *ret);
	return 1;
}

int node_string(const struct node *of, const char *key, const char **ret)
{
	struct json_object *o;
	int r = node_get(of, key, json_type_string, "a string", &o);

	return r == 1 ? string_of(of, key, o, ret) : r;
}

int node_bool(const struct node *of, const char *key, bool *ret)
{
	struct json_object *o;
	int r = node_get(of, key, json_type_boolean, "true or false", &o);

	if (r == 1)
		*ret = json_object_get_boolean(o);
	return r;
}

/* json-c reads what does not fit an int64 as the largest one; the uint64 getter keeps it exact. */
static int uint_of(const struct node *of, const char *key, struct json_object *o, uint64_t min,
	uint64_t max, uint64_t *ret)
{
	bool negative = json_object_get_int64(o) < 0;

	*ret = json_object_get_uint64(o);
	if (negative || *ret < min || *ret > max)
		return node_fault(of, key, "%s is not in %llu..%llu", json_object_to_json_string(o),
			(unsigned long long)min, (unsigned long long)max);
	return 1;
}

int node_uint(const struct node *of, const char *key, uint64_t min, uint64_t max, uint64_t *ret)
{
	struct json_object *o;
	int r = node_get(of, key, json_type_int, "a whole number", &o);

	return r == 1 ? uint_of(of, key, o, min, max, ret) : r;
}

int node_int(const struct node *of, const char *key, int64_t min, int64_t max, int64_t *ret)
{
	struct json_object *o;
	int r = node_get(of, key, json_type_int, "a whole number", &o);

	if (r != 1)
		return r;
	*ret = json_object_get_int64(o);
	if (*ret < min || *ret > max)
		return node_fault(of, key, "%s is not in %lld..%lld", json_object_to_json_string(o),
			(long long)min, (long long)max);
	return 1;
}

size_t node_count(const struct node *array)
{
	return json_object_array_length(array->o);
}

static int element(
	const struct node *array, size_t i, enum json_type type, const char *word, struct node *ret)
{
	ret->o = json_object_array_get_idx(array->o, i);
	snprintf(ret->name, sizeof(ret->name), "%.180s[%zu]", array->name, i);
	if (!json_object_is_type(ret->o, type))
		return node_fault(
			ret, NULL, "%.60s is not %s", json_object_to_json_string(ret->o), word);
	return 0;
}

int node_object_at(const struct node *array, size_t i, struct node *ret)
{
	return element(array, i, json_type_object, "an object", ret);
}

int node_string_at(const struct node *array, size_t i, const char **ret)
{
	struct node n;
	int r = element(array, i, json_type_string, "a string", &n);

	if (r == 0)
		r = string_of(&n, NULL, n.o, ret);
	return r < 0 ? r : 0;
}

int node_uint_at(const struct node *array, size_t i, uint64_t max, uint64_t *ret)
{
	struct node n;
	int r = element(array, i, json_type_int, "a whole number", &n);

	if (r == 0)
		r = uint_of(&n, NULL, n.o, 0, max, ret);
	return r < 0 ? r : 0;
}

int node_each(const struct node *of, int (*f)(void *ctx, const char *key, const struct node *value),
	void *ctx)
{
	json_object_object_foreach(of->o, key, value)
	{
		struct node n = {.o = value};
		int r;

		if (!value)
			continue;
		child_name(of, key, n.name, sizeof(n.name));
		r = f(ctx, key, &n);
		if (r < 0)
			return r;
	}
	return 0;
}

bool node_empty(const struct node *value)
{
	switch ((int)json_object_get_type(value->o)) {
	case json_type_object:
		return json_object_object_length(value->o) == 0;
	case json_type_array:
		return json_object_array_length(value->o) == 0;
	case json_type_string:
		return json_object_get_string_len(value->o) == 0;
	default:
		return json_object_get_int64(value->o) == 0;
	}
}

bool node_is_string(const struct node *value)
{
	return json_object_is_type(value->o, json_type_string);
}

const char *node_text(const struct node *value)
{
	return json_object_is_type(value->o, json_type_string) ? json_object_get_string(value->o)
							       : "";
}
