#include "cli/spec_doc.h"

#include <errno.h>

#include "ipc/base/fault.h"

#define CONFIG_DEPTH 64

void text_set(struct json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, json_object_new_string(value));
}

void number_set(struct json_object *o, const char *key, uint64_t value)
{
	json_object_object_add(o, key, json_object_new_uint64(value));
}

const char *text_get(struct json_object *o, const char *key)
{
	struct json_object *v;

	if (json_object_get_type(o) != json_type_object || !json_object_object_get_ex(o, key, &v) ||
		json_object_get_type(v) != json_type_string)
		return NULL;
	return json_object_get_string(v);
}

int section(struct json_object *o, const char *key, enum json_type type, struct json_object **ret)
{
	if (!json_object_object_get_ex(o, key, ret) || !*ret) {
		*ret = type == json_type_array ? json_object_new_array() : json_object_new_object();
		json_object_object_add(o, key, *ret);
	}
	if (json_object_get_type(*ret) != type)
		return fault_plain(-EINVAL, "config.json: \"%s\" is not an %s", key,
			type == json_type_array ? "array" : "object");
	return 0;
}

int config_parse(const char *name, const char *data, size_t len, struct json_object **ret)
{
	struct json_tokener *tok = json_tokener_new_ex(CONFIG_DEPTH);
	enum json_tokener_error err;
	size_t at;

	if (!tok)
		return fault(-ENOMEM, "%s", name);
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
	*ret = json_tokener_parse_ex(tok, data, (int)len + 1);
	err = json_tokener_get_error(tok);
	at = json_tokener_get_parse_end(tok);
	json_tokener_free(tok);
	if (err != json_tokener_success) {
		json_object_put(*ret);
		*ret = NULL;
		return fault_plain(
			-EINVAL, "%s: byte %zu: %s", name, at, json_tokener_error_desc(err));
	}
	if (json_object_get_type(*ret) == json_type_object)
		return 0;
	json_object_put(*ret);
	*ret = NULL;
	return fault_plain(-EINVAL, "%s: not a JSON object", name);
}
