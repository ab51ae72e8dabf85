/* What --security-opt and --sysctl put into config.json. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "cli/spec_doc.h"
#include "ipc/base/fault.h"
#include "ipc/base/mem.h"
#include "ipc/sysctl.h"

/* Does config.json make or join a namespace of this type? */
static bool has_namespace(struct doc *d, const char *type)
{
	struct json_object *list;

	if (!json_object_object_get_ex(d->linux_, "namespaces", &list) ||
		json_object_get_type(list) != json_type_array)
		return false;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		const char *have = text_get(json_object_array_get_idx(list, i), "type");

		if (have && strcmp(have, type) == 0)
			return true;
	}
	return false;
}

/* The option's setter has looked at the key: it belongs to one of the three kinds. */
static int sysctl_check(struct doc *d, const char *text, const char *key)
{
	char path[200];
	const char *type;
	uint64_t ns;

	if (sysctl_path(key, path, sizeof(path)) < 0)
		return fault_plain(-EINVAL, "--sysctl \"%.200s\": not a sysctl's name", text);
	ns = sysctl_namespace(path);
	type = ns == CLONE_NEWNET ? "network" : namespace_name(ns);
	if (has_namespace(d, type))
		return 0;
	return fault_plain(-EINVAL,
		"--sysctl \"%.200s\": would be set for the host, the container has no %s namespace "
		"of its own (%s)",
		text, type,
		ns == CLONE_NEWNET ? "leave --network host out" : "add it to config.json");
}

static int sysctls_apply(struct doc *d)
{
	char *const *text = d->spec->setup.sysctls.items;
	size_t len = d->spec->setup.sysctls.len;
	struct json_object *list;
	int r = len ? section(d->linux_, "sysctl", json_type_object, &list) : 0;

	for (size_t i = 0; r == 0 && i < len; i++) {
		auto_free char *key = strndup(text[i], strcspn(text[i], "="));

		if (!key)
			return fault(-ENOMEM, "sysctls");
		r = sysctl_check(d, text[i], key);
		if (r == 0)
			text_set(list, key, strchr(text[i], '=') + 1);
	}
	return r;
}

static int filter_apply(struct doc *d)
{
	const struct spec_security *s = &d->spec->setup.security;
	struct json_object *caps = NULL, *profile;
	int r;

	if (s->filter == FILTER_UNSET)
		return 0;
	json_object_object_del(d->linux_, "seccomp");
	if (s->filter != FILTER_FILE)
		return 0;
	if (json_object_object_get_ex(d->process, "capabilities", &caps))
		caps = json_object_object_get(caps, "bounding");
	r = seccomp_profile(s->filter_file, caps, &profile);
	if (r == 0)
		json_object_object_add(d->linux_, "seccomp", profile);
	return r;
}

int security_apply(struct doc *d)
{
	const struct spec_security *s = &d->spec->setup.security;
	int r = sysctls_apply(d);

	if (s->privileges_set)
		json_object_object_add(
			d->process, "noNewPrivileges", json_object_new_boolean(!s->new_privileges));
	if (s->open_paths) { /* lists, though empty: without them launch has its own */
		json_object_object_add(d->linux_, "maskedPaths", json_object_new_array());
		json_object_object_add(d->linux_, "readonlyPaths", json_object_new_array());
	}
	return r < 0 ? r : filter_apply(d);
}
