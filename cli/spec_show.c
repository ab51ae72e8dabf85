#include "cli/spec_show.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <json-c/json.h>

#include "cli/inspect_line.h"
#include "cli/json.h"
#include "ipc/base/file.h"
#include "ipc/base/mem.h"

#define CONFIG_BYTES (4u << 20)

static struct json_object *document(int state_dirfd)
{
	auto_free char *data = NULL;
	ssize_t n = file_read(state_dirfd, "config.json", CONFIG_BYTES, &data);

	return n < 0 ? NULL : json_tokener_parse(data);
}

void spec_show_json(int state_dirfd)
{
	struct json_object *top = document(state_dirfd);
	const char *text =
		top ? json_object_to_json_string_ext(top, JSON_C_TO_STRING_SPACED) : NULL;

	json_document(text ? text : "null");
	json_object_put(top);
}

static struct json_object *at(struct json_object *o, const char *a, const char *b)
{
	struct json_object *found = NULL;

	if (!o || !json_object_object_get_ex(o, a, &found))
		return NULL;
	return b ? at(found, b, NULL) : found;
}

static const char *text_at(struct json_object *o, const char *a, const char *b)
{
	struct json_object *found = at(o, a, b);

	return found && json_object_is_type(found, json_type_string) ? json_object_get_string(found)
								     : NULL;
}

static size_t items(struct json_object *o)
{
	return o && json_object_is_type(o, json_type_array) ? json_object_array_length(o) : 0;
}

static void show_text(const char *key, const char *value)
{
	if (value)
		inspect_line(key, "%s", value);
}

static void show_command(struct json_object *args)
{
	char line[2048] = "";
	size_t len = 0;

	for (size_t i = 0; i < items(args) && len < sizeof(line); i++) {
		const char *arg = json_object_get_string(json_object_array_get_idx(args, i));

		len += (size_t)snprintf(
			line + len, sizeof(line) - len, "%s%s", i ? " " : "", arg ? arg : "");
	}
	inspect_line("command", "%s%s", line, len >= sizeof(line) ? "..." : "");
}

static void show_each(const char *key, struct json_object *list)
{
	for (size_t i = 0; i < items(list); i++)
		show_text(i ? "" : key, json_object_get_string(json_object_array_get_idx(list, i)));
}

static void show_user(struct json_object *user)
{
	inspect_line("user", "%d:%d", json_object_get_int(at(user, "uid", NULL)),
		json_object_get_int(at(user, "gid", NULL)));
}

static void show_mounts(struct json_object *mounts)
{
	for (size_t i = 0; i < items(mounts); i++) {
		struct json_object *m = json_object_array_get_idx(mounts, i);
		const char *source = text_at(m, "source", NULL), *type = text_at(m, "type", NULL);
		const char *where = text_at(m, "destination", NULL);

		inspect_line(i ? "" : "mounts", "%s: %s", where ? where : "?",
			type && strcmp(type, "bind") != 0 ? type
			: source			  ? source
							  : "bind");
	}
}

static void show_network(struct json_object *namespaces)
{
	const char *what = "host";

	for (size_t i = 0; i < items(namespaces); i++) {
		struct json_object *n = json_object_array_get_idx(namespaces, i);
		const char *type = text_at(n, "type", NULL), *path = text_at(n, "path", NULL);

		if (type && strcmp(type, "network") == 0)
			what = path ? path : "none";
	}
	inspect_line("network", "%s", what);
}

static void show_limits(struct json_object *resources)
{
	struct json_object *memory = at(resources, "memory", "limit");
	struct json_object *quota = at(resources, "cpu", "quota");
	struct json_object *period = at(resources, "cpu", "period");
	struct json_object *pids = at(resources, "pids", "limit");
	char bytes[32];

	if (memory && json_object_get_int64(memory) > 0) {
		inspect_bytes(bytes, sizeof(bytes), (uint64_t)json_object_get_int64(memory));
		inspect_line("memory limit", "%s", bytes);
	}
	if (quota && json_object_get_int64(quota) > 0)
		inspect_line("cpu limit", "%.3g",
			(double)json_object_get_int64(quota) /
				(period ? (double)json_object_get_int64(period) : 100000.0));
	if (pids && json_object_get_int64(pids) > 0)
		inspect_line("pids limit", "%" PRId64, json_object_get_int64(pids));
}

static void show_labels(struct json_object *labels)
{
	const char *key = "labels";

	if (!labels || !json_object_is_type(labels, json_type_object))
		return;
	json_object_object_foreach(labels, name, value)
	{
		inspect_line(key, "%s=%s", name, json_object_get_string(value));
		key = "";
	}
}

void spec_show_text(int state_dirfd)
{
	struct json_object *top = document(state_dirfd), *process = at(top, "process", NULL);

	if (!top)
		return;
	show_command(at(process, "args", NULL));
	show_text("directory", text_at(process, "cwd", NULL));
	show_user(at(process, "user", NULL));
	show_text("root", text_at(top, "root", "path"));
	show_text("host name", text_at(top, "hostname", NULL));
	show_network(at(top, "linux", "namespaces"));
	show_limits(at(top, "linux", "resources"));
	show_each("environment", at(process, "env", NULL));
	show_mounts(at(top, "mounts", NULL));
	show_labels(at(top, "annotations", NULL));
	json_object_put(top);
}
