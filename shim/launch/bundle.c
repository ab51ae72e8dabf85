/* config.json as a whole: parse with bounds (4 MiB, 64 levels; the last of duplicate keys wins, as
 * in other runtimes), then one section after the other. */
#include "shim/launch/bundle.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/mem.h"

#define JSON_DEPTH 64

void bundle_warn(struct bundle *b, const char *fmt, ...)
{
	size_t at = strlen(b->head.warnings), room = sizeof(b->head.warnings) - at;
	char line[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	b->head.warned++;
	for (char *p = line; *p; p++)
		if ((unsigned char)*p < ' ')
			*p = '?'; /* a line of the log is a line, whatever config.json says */
	dprintf(STDERR_FILENO, "holdfast-launch: %s\n", line);
	if (strlen(line) + 2 <= room)
		snprintf(b->head.warnings + at, room, "%s%s", at ? "\n" : "", line);
}

int bundle_path(const struct node *of, const char *key, const char *path, char *buf, size_t size)
{
	size_t n = 0;

	if (path[0] != '/')
		return node_fault(of, key, "\"%.120s\": not absolute (begin it with /)", path);
	for (const char *p = path; *p;) {
		size_t len;

		p += strspn(p, "/");
		len = strcspn(p, "/");
		if (len == 2 && p[0] == '.' && p[1] == '.')
			return node_fault(
				of, key, "\"%.120s\": has \"..\" in it (write it out)", path);
		if (len == 0 || (len == 1 && p[0] == '.')) {
			p += len;
			continue;
		}
		if (n + len + 2 > size)
			return node_fault(of, key, "\"%.60s…\": longer than %zu bytes", path, size);
		buf[n++] = '/';
		memcpy(buf + n, p, len);
		n += len;
		p += len;
	}
	if (n == 0)
		buf[n++] = '/';
	buf[n] = '\0';
	return 0;
}

bool bundle_own_ns(const struct bundle *b, uint64_t type)
{
	const char *base = b->blob.data + b->head.joins.off;

	for (uint32_t i = 0; i < b->head.joins.count; i++) {
		struct sandbox_join j;

		memcpy(&j, base + i * sizeof(j), sizeof(j));
		if (j.type == type)
			return true;
	}
	return bundle_new_ns(b, type);
}

static int parse(struct bundle *b, const char *text, size_t len, struct json_object **ret)
{
	struct json_tokener *tok = json_tokener_new_ex(JSON_DEPTH);
	enum json_tokener_error err;
	size_t end;

	json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
	*ret = json_tokener_parse_ex(tok, text, (int)len);
	err = json_tokener_get_error(tok);
	end = json_tokener_get_parse_end(tok);
	json_tokener_free(tok);
	if (err == json_tokener_continue)
		return fault_plain(-EINVAL, "config.json: ends in the middle of a value");
	if (err != json_tokener_success)
		return fault_plain(
			-EINVAL, "config.json: byte %zu: %s", end, json_tokener_error_desc(err));
	end += strspn(text + end, " \t\r\n");
	if (end != len)
		return fault_plain(
			-EINVAL, "config.json: byte %zu: text behind the closing brace", end);
	if (!json_object_is_type(*ret, json_type_object))
		return fault_plain(-EINVAL, "config.json: not a JSON object");
	b->root = (struct node){.o = *ret};
	return 0;
}

static int version(struct bundle *b)
{
	const char *v = "";
	int r = node_string(&b->root, "ociVersion", &v);

	if (r < 0)
		return r;
	if (strncmp(v, "1.", 2) != 0)
		return node_fault(
			&b->root, "ociVersion", "\"%.40s\": not 1.x (the OCI runtime spec)", v);
	return 0;
}

static int (*const sections[])(struct bundle *) = {
	version,
	bundle_refuse,
	bundle_namespaces,
	bundle_process,
	bundle_root,
	bundle_mounts,
	bundle_devices,
	bundle_paths,
	bundle_sysctls,
	bundle_resources,
	bundle_seccomp,
};

int bundle_read(struct bundle *b, const char *text, size_t len)
{
	struct json_object *doc = NULL;
	int r;

	blob_init(&b->blob, sizeof(b->head));
	blob_init(&b->plan_blob, sizeof(b->plan));
	r = parse(b, text, len, &doc);
	for (size_t i = 0; r == 0 && i < array_size(sections); i++)
		r = sections[i](b);
	json_object_put(doc);
	return r;
}

void bundle_seal(struct bundle *b)
{
	b->head.magic = SANDBOX_MAGIC;
	b->head.size = (uint32_t)b->blob.len;
	memcpy(b->blob.data, &b->head, sizeof(b->head));
	b->plan.magic = PLAN_MAGIC;
	b->plan.version = PLAN_VERSION;
	b->plan.size = (uint32_t)b->plan_blob.len;
	memcpy(b->plan_blob.data, &b->plan, sizeof(b->plan));
}

void bundle_finish(struct bundle *b)
{
	blob_finish(&b->blob);
	blob_finish(&b->plan_blob);
}
