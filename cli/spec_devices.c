/* linux.devices with their rules, and the size of /dev/shm. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/spec_doc.h"
#include "ipc/base/fault.h"

/* Is item an object whose key is this text? */
static bool has_text(struct json_object *item, const char *key, const char *text)
{
	const char *have = text_get(item, key);

	return have && strcmp(have, text) == 0;
}

/* Drops the nodes of the path from the list: the newest one stands. */
static void drop_path(struct json_object *list, const char *path)
{
	for (size_t i = json_object_array_length(list); i-- > 0;)
		if (has_text(json_object_array_get_idx(list, i), "path", path))
			json_object_array_del_idx(list, i, 1);
}

static struct json_object *device_new(const struct spec_device *dev)
{
	const char type[] = {dev->type, '\0'};
	struct json_object *o = json_object_new_object();

	text_set(o, "type", type);
	number_set(o, "major", dev->major);
	number_set(o, "minor", dev->minor);
	return o;
}

static void device_apply(
	const struct spec_device *dev, struct json_object *nodes, struct json_object *rules)
{
	struct json_object *node = device_new(dev), *rule = device_new(dev);

	text_set(node, "path", dev->path);
	number_set(node, "fileMode", dev->mode);
	number_set(node, "uid", dev->uid);
	number_set(node, "gid", dev->gid);
	drop_path(nodes, dev->path);
	json_object_array_add(nodes, node);
	json_object_object_add(rule, "allow", json_object_new_boolean(1));
	text_set(rule, "access", dev->access);
	json_object_array_add(rules, rule); /* the last rule that matches decides */
}

static bool is_size(struct json_object *option)
{
	return json_object_get_type(option) == json_type_string &&
	       strncmp(json_object_get_string(option), "size=", 5) == 0;
}

static int shm_size(struct json_object *mount, uint64_t size)
{
	struct json_object *options;
	char text[32];
	int r;

	if (!has_text(mount, "type", "tmpfs"))
		return fault_plain(-EINVAL,
			"--shm-size: config.json has another kind of mount than tmpfs at /dev/shm (leave "
			"the option out, or change the mount)");
	r = section(mount, "options", json_type_array, &options);
	if (r < 0)
		return r;
	for (size_t i = json_object_array_length(options); i-- > 0;)
		if (is_size(json_object_array_get_idx(options, i)))
			json_object_array_del_idx(options, i, 1);
	snprintf(text, sizeof(text), "size=%llu", (unsigned long long)size);
	json_object_array_add(options, json_object_new_string(text));
	return 0;
}

static struct json_object *shm_new(void)
{
	static const char *const words[] = {"nosuid", "noexec", "nodev", "mode=1777", NULL};
	struct json_object *m = json_object_new_object(), *options = json_object_new_array();

	text_set(m, "destination", "/dev/shm");
	text_set(m, "type", "tmpfs");
	text_set(m, "source", "shm");
	for (const char *const *w = words; *w; w++)
		json_object_array_add(options, json_object_new_string(*w));
	json_object_object_add(m, "options", options);
	return m;
}

static int shm_apply(struct doc *d)
{
	size_t len = json_object_array_length(d->mounts);
	struct json_object *m;

	if (!d->spec->resources.shm_size)
		return 0;
	for (size_t i = len; i-- > 0;) {
		m = json_object_array_get_idx(d->mounts, i);
		if (has_text(m, "destination", "/dev/shm"))
			return shm_size(m, d->spec->resources.shm_size);
	}
	m = shm_new();
	json_object_array_add(d->mounts, m);
	return shm_size(m, d->spec->resources.shm_size);
}

int devices_apply(struct doc *d)
{
	const struct spec_list *list = &d->spec->resources.devices;
	const struct spec_device *dev = list->items;
	struct json_object *nodes, *rules;
	int r = shm_apply(d);

	if (r < 0 || list->len == 0)
		return r;
	r = section(d->linux_, "devices", json_type_array, &nodes);
	if (r == 0)
		r = section(d->resources, "devices", json_type_array, &rules);
	for (size_t i = 0; r == 0 && i < list->len; i++)
		device_apply(&dev[i], nodes, rules);
	return r;
}
