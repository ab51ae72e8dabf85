/* A profile of system calls from a file. Two shapes are known: the OCI object as it stands in
 * config.json, and docker's, which has conditions (capabilities, architectures, kernels) that are
 * decided here, once. What is left in the end is the OCI object; launch checks its words. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "cli/spec_doc.h"
#include "ipc/base/fault.h"
#include "ipc/base/file.h"
#include "ipc/base/mem.h"

struct profile {
	const char *path;
	const struct json_object *bounding;
	struct utsname host;
};

static int bad(const struct profile *p, const char *what)
{
	return fault_plain(-EINVAL, "--security-opt \"seccomp=%.200s\": %s", p->path, what);
}

/* Names of this machine: as profiles call it, and as libseccomp does. */
static const struct machine {
	const char *kernel, *name, *arch;
} machines[] = {
	{"x86_64", "amd64", "SCMP_ARCH_X86_64"},
	{"aarch64", "arm64", "SCMP_ARCH_AARCH64"},
	{"armv7l", "arm", "SCMP_ARCH_ARM"},
	{"riscv64", "riscv64", "SCMP_ARCH_RISCV64"},
	{"ppc64le", "ppc64le", "SCMP_ARCH_PPC64LE"},
	{"s390x", "s390x", "SCMP_ARCH_S390X"},
	{"loongarch64", "loong64", "SCMP_ARCH_LOONGARCH64"},
};

static const struct machine *machine_find(const struct profile *p)
{
	for (size_t i = 0; i < array_size(machines); i++)
		if (strcmp(machines[i].kernel, p->host.machine) == 0)
			return &machines[i];
	return NULL;
}

static bool listed(const struct json_object *list, const char *word)
{
	if (json_object_get_type(list) != json_type_array)
		return false;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *item = json_object_array_get_idx(list, i);

		if (json_object_get_type(item) == json_type_string &&
			strcmp(json_object_get_string(item), word) == 0)
			return true;
	}
	return false;
}

/* How many of the names in list does the container have? */
static size_t caps_held(const struct profile *p, const struct json_object *list, size_t *all)
{
	size_t held = 0;

	*all = json_object_get_type(list) == json_type_array ? json_object_array_length(list) : 0;
	for (size_t i = 0; i < *all; i++) {
		struct json_object *item = json_object_array_get_idx(list, i);

		held += json_object_get_type(item) == json_type_string &&
			listed(p->bounding, json_object_get_string(item));
	}
	return held;
}

static bool kernel_reached(const struct profile *p, const char *wanted)
{
	unsigned have[2] = {0}, want[2] = {0};

	sscanf(p->host.release, "%u.%u", &have[0], &have[1]);
	sscanf(wanted, "%u.%u", &want[0], &want[1]);
	return have[0] > want[0] || (have[0] == want[0] && have[1] >= want[1]);
}

static struct json_object *member(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	if (json_object_get_type(o) == json_type_object)
		json_object_object_get_ex(o, key, &v);
	return v;
}

/* includes: all of it must be so; excludes: none of it may. */
static bool applies(const struct profile *p, struct json_object *rule)
{
	struct json_object *in = member(rule, "includes"), *out = member(rule, "excludes");
	const struct machine *m = machine_find(p);
	struct json_object *arches = member(in, "arches");
	const char *kernel = text_get(in, "minKernel"), *not_from = text_get(out, "minKernel");
	size_t all;

	if (caps_held(p, member(in, "caps"), &all) < all || caps_held(p, member(out, "caps"), &all))
		return false;
	if (json_object_get_type(arches) == json_type_array && json_object_array_length(arches) &&
		!(m && listed(arches, m->name)))
		return false;
	if (m && listed(member(out, "arches"), m->name))
		return false;
	return (!kernel || kernel_reached(p, kernel)) &&
	       (!not_from || !kernel_reached(p, not_from));
}

static void copy(struct json_object *to, struct json_object *from, const char *key)
{
	struct json_object *v = member(from, key);

	if (v)
		json_object_object_add(to, key, json_object_get(v));
}

/* One rule in OCI's words; older profiles have one "name" where others have "names". */
static struct json_object *rule_new(struct json_object *rule)
{
	static const char *const keys[] = {"names", "action", "errnoRet", "args"};
	struct json_object *o = json_object_new_object(), *one = member(rule, "name"), *names;

	for (size_t i = 0; i < array_size(keys); i++)
		copy(o, rule, keys[i]);
	if (one && !member(rule, "names")) {
		names = json_object_new_array();
		json_object_array_add(names, json_object_get(one));
		json_object_object_add(o, "names", names);
	}
	return o;
}

static int rules(const struct profile *p, struct json_object *from, struct json_object *to)
{
	struct json_object *list = member(from, "syscalls"), *out = json_object_new_array();

	json_object_object_add(to, "syscalls", out);
	if (!list)
		return 0;
	if (json_object_get_type(list) != json_type_array)
		return bad(p, "\"syscalls\" is not an array");
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *rule = json_object_array_get_idx(list, i);

		if (!text_get(rule, "action") ||
			(json_object_get_type(member(rule, "names")) != json_type_array &&
				!text_get(rule, "name")))
			return bad(p, "a member of \"syscalls\" has no \"action\" or no \"names\"");
		if (applies(p, rule))
			json_object_array_add(out, rule_new(rule));
	}
	return 0;
}

/* docker's archMap: this machine's entry with what it runs beside its own. */
static void architectures(const struct profile *p, struct json_object *from, struct json_object *to)
{
	struct json_object *map = member(from, "archMap"), *list = json_object_new_array(), *sub;
	const struct machine *m = machine_find(p);

	json_object_object_add(to, "architectures", list);
	if (!m || json_object_get_type(map) != json_type_array)
		return;
	for (size_t i = 0; i < json_object_array_length(map); i++) {
		struct json_object *entry = json_object_array_get_idx(map, i);
		const char *arch = text_get(entry, "architecture");

		if (!arch || strcmp(arch, m->arch) != 0)
			continue;
		json_object_array_add(list, json_object_new_string(arch));
		sub = member(entry, "subArchitectures");
		for (size_t k = 0; json_object_get_type(sub) == json_type_array &&
				   k < json_object_array_length(sub);
			k++)
			json_object_array_add(
				list, json_object_get(json_object_array_get_idx(sub, k)));
	}
}

static int convert(const struct profile *p, struct json_object *from, struct json_object *to)
{
	static const char *const keys[] = {
		"defaultAction", "defaultErrnoRet", "flags", "listenerPath", "listenerMetadata"};

	if (!text_get(from, "defaultAction"))
		return bad(p, "no profile of system calls: \"defaultAction\" is missing (give the "
			      "linux.seccomp object of OCI, or a profile for docker)");
	if (member(from, "architectures") && member(from, "archMap"))
		return bad(p, "has both \"architectures\" and \"archMap\" (keep one)");
	for (size_t i = 0; i < array_size(keys); i++)
		copy(to, from, keys[i]);
	if (member(from, "archMap"))
		architectures(p, from, to);
	else
		copy(to, from, "architectures");
	return rules(p, from, to);
}

int seccomp_profile(const char *path, const struct json_object *bounding, struct json_object **ret)
{
	struct profile p = {.path = path, .bounding = bounding};
	auto_free char *data = NULL;
	struct json_object *from = NULL;
	char text[300];
	ssize_t n = file_read(AT_FDCWD, path, CONFIG_MAX, &data);
	int r = n < 0 ? (int)n : config_parse(path, data, (size_t)n, &from);

	if (r < 0) {
		snprintf(text, sizeof(text), "%.200s (use unconfined, default, or a file of JSON)",
			fault_text());
		return bad(&p, text);
	}
	uname(&p.host);
	*ret = json_object_new_object();
	r = convert(&p, from, *ret);
	json_object_put(from);
	if (r < 0)
		json_object_put(*ret);
	return r;
}
