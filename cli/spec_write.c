/* The OCI config.json of a container. One path for all three kinds of root: a document is opened
 * (the bundle's own, or our defaults), its sections are made sure of, and what the user asked for
 * is put into them. More of it stands in the other
 * spec_*.c. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/caps.h"
#include "cli/identity.h"
#include "cli/spec_defaults.h"
#include "cli/spec_doc.h"
#include "cli/text.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"
#include "ipc/base/mem.h"

#define PATH_DEFAULT "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static struct json_object *texts_new(const char *const *items)
{
	struct json_object *a = json_object_new_array();

	while (*items)
		json_object_array_add(a, json_object_new_string(*items++));
	return a;
}

static int doc_sections(struct doc *d)
{
	int r = section(d->top, "process", json_type_object, &d->process);

	if (r == 0)
		r = section(d->top, "root", json_type_object, &d->root);
	if (r == 0)
		r = section(d->top, "linux", json_type_object, &d->linux_);
	if (r == 0)
		r = section(d->top, "mounts", json_type_array, &d->mounts);
	if (r == 0)
		r = section(d->process, "user", json_type_object, &d->user);
	if (r == 0)
		r = section(d->process, "env", json_type_array, &d->env);
	if (r == 0)
		r = section(d->linux_, "resources", json_type_object, &d->resources);
	return r;
}

static int config_read(const char *bundle, struct json_object **ret)
{
	auto_fd dir = open(bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
	auto_free char *data = NULL;
	char name[PATH_MAX];
	struct stat st;
	ssize_t n;

	if (dir < 0)
		return fault(-errno, "--bundle \"%s\"", bundle);
	if (fstatat(dir, "config.json", &st, 0) < 0)
		return fault(-errno, "%s/config.json", bundle);
	if (!S_ISREG(st.st_mode))
		return fault_plain(-EINVAL, "%s/config.json: not a regular file", bundle);
	n = file_read(dir, "config.json", CONFIG_MAX, &data);
	snprintf(name, sizeof(name), "%.3800s/config.json", bundle);
	return n < 0 ? (int)n : config_parse(name, data, (size_t)n, ret);
}

static void mount_add(struct doc *d, const char *type, const char *source, const char *target,
	const char *options)
{
	struct json_object *m = json_object_new_object(), *list = json_object_new_array();

	text_set(m, "destination", target);
	text_set(m, "type", type);
	text_set(m, "source", source);
	for (const char *p = options; p && *p;) {
		size_t n = strcspn(p, ",");

		if (n)
			json_object_array_add(list, json_object_new_string_len(p, (int)n));
		p += n + (p[n] == ',');
	}
	json_object_object_add(m, "options", list);
	json_object_array_add(d->mounts, m);
}

static void default_mounts(struct doc *d)
{
	for (const struct spec_default_mount *m = spec_default_mounts; m->type; m++)
		mount_add(d, m->type, m->source, m->target, m->options);
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Never above what this process has: raising a limit is not this command's to decide. */
static void default_rlimits(struct doc *d)
{
	struct json_object *list = json_object_new_array();

	for (const struct spec_default_limit *l = spec_default_limits; l->name; l++) {
		struct json_object *o = json_object_new_object();
		struct rlimit own = {RLIM_INFINITY, RLIM_INFINITY};

		getrlimit((__rlimit_resource_t)l->resource, &own);
		text_set(o, "type", l->name);
		number_set(o, "soft", smaller(l->soft, own.rlim_max));
		number_set(o, "hard", smaller(l->hard, own.rlim_max));
		json_object_array_add(list, o);
	}
	json_object_object_add(d->process, "rlimits", list);
}

static void namespace_add(struct doc *d, struct json_object *list, const char *type)
{
	struct json_object *o = json_object_new_object();

	text_set(o, "type", type);
	json_object_array_add(list, o);
}

static void default_namespaces(struct doc *d)
{
	struct json_object *list = json_object_new_array();

	for (const char *const *type = spec_default_namespaces; *type; type++)
		namespace_add(d, list, *type);
	json_object_object_add(d->linux_, "namespaces", list);
}

/* Masked and read-only paths are left out: launch has the lists. */
static void defaults(struct doc *d)
{
	text_set(d->top, "ociVersion", "1.0.2");
	number_set(d->user, "uid", 0);
	number_set(d->user, "gid", 0);
	number_set(d->user, "umask", 0022);
	text_set(d->process, "cwd", "/");
	json_object_object_add(d->process, "noNewPrivileges", json_object_new_boolean(1));
	number_set(d->process, "oomScoreAdj", 0);
	default_rlimits(d);
	text_set(d->root, "path", d->spec->rootfs ? d->spec->rootfs : "/");
	default_mounts(d);
	default_namespaces(d);
}

static int doc_open(struct doc *d)
{
	const char *bundle = d->spec->bundle;
	struct json_object *path;
	int r = 0;

	if (bundle)
		r = config_read(bundle, &d->top);
	else
		d->top = json_object_new_object();
	if (r == 0)
		r = doc_sections(d);
	if (r < 0)
		return r;
	d->ours = !bundle;
	if (d->ours)
		defaults(d);
	if (!json_object_object_get_ex(d->root, "path", &path) ||
		json_object_get_type(path) != json_type_string)
		return fault_plain(-EINVAL, "%s/config.json: root.path is missing", bundle);
	return 0;
}

/* Where the service's root is for this process, for its user files. */
static void rootfs_path(const struct doc *d, char *ret, size_t size)
{
	const char *path = json_object_get_string(json_object_object_get(d->root, "path"));

	if (path[0] == '/')
		snprintf(ret, size, "%s", path);
	else
		snprintf(ret, size, "%s/%s", d->spec->bundle, path);
}

static size_t env_name_len(const char *pair)
{
	return strcspn(pair, "=");
}

/* Index of the variable in the document's env, or -1. */
static int env_find(const struct doc *d, const char *pair)
{
	size_t n = env_name_len(pair), len = json_object_array_length(d->env);

	for (size_t i = 0; i < len; i++) {
		const char *have = json_object_get_string(json_object_array_get_idx(d->env, i));

		if (have && env_name_len(have) == n && strncmp(have, pair, n) == 0)
			return (int)i;
	}
	return -1;
}

static void env_put(struct doc *d, const char *pair)
{
	int at = env_find(d, pair);

	if (at < 0)
		json_object_array_add(d->env, json_object_new_string(pair));
	else
		json_object_array_put_idx(d->env, (size_t)at, json_object_new_string(pair));
}

static void env_default(struct doc *d, const char *pair)
{
	if (env_find(d, pair) < 0)
		json_object_array_add(d->env, json_object_new_string(pair));
}

static void env_apply(struct doc *d, const char *home)
{
	char *const *file = d->spec->setup.env_file.items, *const *env = d->spec->env.items;
	char text[280];

	for (size_t i = 0; i < d->spec->setup.env_file.len; i++)
		env_put(d, file[i]);
	for (size_t i = 0; i < d->spec->env.len; i++)
		env_put(d, env[i]);
	snprintf(text, sizeof(text), "HOME=%s", home);
	env_default(d, PATH_DEFAULT);
	env_default(d, text);
	if (d->spec->tty)
		env_default(d, "TERM=xterm");
}

/* The user, and what follows from it: HOME. */
static int user_apply(struct doc *d, uint32_t *uid)
{
	struct json_object *groups = NULL;
	struct identity who = {0};
	char rootfs[PATH_MAX];
	int r;

	who.uid = (uint32_t)json_object_get_int64(json_object_object_get(d->user, "uid"));
	if (d->spec->user) {
		rootfs_path(d, rootfs, sizeof(rootfs));
		r = identity_resolve(d->spec->user, rootfs, &who);
		if (r < 0)
			return r;
		groups = json_object_new_array();
		for (size_t i = 0; i < who.groups_len; i++)
			json_object_array_add(groups, json_object_new_uint64(who.groups[i]));
		number_set(d->user, "uid", who.uid);
		number_set(d->user, "gid", who.gid);
		json_object_object_add(d->user, "additionalGids", groups);
	}
	*uid = who.uid;
	env_apply(d, who.home[0] ? who.home : who.uid == 0 ? "/root" : "/");
	return 0;
}

/* The list without what is dropped, with what is added; a name that is not known here stays, for
 * launch to judge. */
static struct json_object *caps_edit(const struct json_object *old, uint64_t add, uint64_t drop)
{
	size_t len =
		json_object_get_type(old) == json_type_array ? json_object_array_length(old) : 0;
	struct json_object *list = json_object_new_array();
	uint64_t have = 0;

	for (size_t i = 0; i < len; i++) {
		struct json_object *item = json_object_array_get_idx(old, i);
		const char *name = json_object_get_string(item);
		uint64_t bit = name ? caps_parse(name) : 0;

		if (drop == caps_parse("ALL") || (bit & drop))
			continue;
		have |= bit;
		json_object_array_add(list, json_object_get(item));
	}
	add = caps_apply(0, add, drop) & ~have;
	for (unsigned i = 0; caps_name(i); i++)
		if (add & (1ULL << i))
			json_object_array_add(list, json_object_new_string(caps_name(i)));
	return list;
}

static struct json_object *caps_new(uint64_t set)
{
	return caps_edit(NULL, set, 0);
}

/* A bundle says itself which sets it has: they are edited, not made anew. */
static void caps_merge(struct json_object *caps, const struct spec *s)
{
	static const char *const sets[] = {
		"bounding", "permitted", "effective", "inheritable", "ambient"};

	for (size_t i = 0; i < array_size(sets); i++) {
		uint64_t add = i < 3 ? s->cap_add : 0;
		struct json_object *old = json_object_object_get(caps, sets[i]);

		if (old || add)
			json_object_object_add(caps, sets[i], caps_edit(old, add, s->cap_drop));
	}
}

/* Root has the whole set. Another user has nothing but what was asked for by name, as ambient: the
 * inheritable set stays empty otherwise, so that no file capability can revive one. */
static int caps_apply_doc(struct doc *d, uint32_t uid)
{
	const struct spec *s = d->spec;
	uint64_t bounding, held;
	struct json_object *caps;
	int r = section(d->process, "capabilities", json_type_object, &caps);

	if (r == 0 && !d->ours)
		caps_merge(caps, s);
	if (r < 0 || !d->ours)
		return r;
	bounding = caps_apply(caps_default(), s->cap_add, s->cap_drop);
	held = uid == 0 ? bounding : bounding & s->cap_add;
	json_object_object_add(caps, "bounding", caps_new(bounding));
	json_object_object_add(caps, "effective", caps_new(held));
	json_object_object_add(caps, "permitted", caps_new(held));
	json_object_object_add(caps, "inheritable", caps_new(uid == 0 ? 0 : held));
	json_object_object_add(caps, "ambient", caps_new(uid == 0 ? 0 : held));
	return 0;
}

static int process_apply(struct doc *d)
{
	const struct spec *s = d->spec;
	struct json_object *args;

	if (s->argv[0])
		json_object_object_add(d->process, "args", texts_new((const char *const *)s->argv));
	else if (!json_object_object_get_ex(d->process, "args", &args) ||
		 json_object_get_type(args) != json_type_array ||
		 json_object_array_length(args) == 0)
		return fault_plain(-EINVAL,
			"%s/config.json: no process.args, and no command given (add one after the options)",
			s->bundle);
	if (s->rows && s->cols) {
		struct json_object *size = json_object_new_object();

		number_set(size, "height", s->rows);
		number_set(size, "width", s->cols);
		json_object_object_add(d->process, "consoleSize", size);
	}
	if (s->workdir)
		text_set(d->process, "cwd", s->workdir);
	if (d->ours || s->tty)
		json_object_object_add(d->process, "terminal", json_object_new_boolean(s->tty));
	return 0;
}

/* Drops every namespace of the type; a plain new one takes its place when add. */
static int namespace_set(struct doc *d, const char *type, bool add)
{
	struct json_object *list, *kept = json_object_new_array();
	int r = section(d->linux_, "namespaces", json_type_array, &list);
	size_t len = r == 0 ? json_object_array_length(list) : 0;

	for (size_t i = 0; i < len; i++) {
		struct json_object *ns = json_object_array_get_idx(list, i), *have;

		if (json_object_get_type(ns) == json_type_object &&
			json_object_object_get_ex(ns, "type", &have) &&
			json_object_get_type(have) == json_type_string &&
			strcmp(json_object_get_string(have), type) == 0)
			continue;
		json_object_array_add(kept, json_object_get(ns));
	}
	if (add)
		namespace_add(d, kept, type);
	if (r == 0)
		json_object_object_add(d->linux_, "namespaces", kept);
	else
		json_object_put(kept);
	return r;
}

static void id_map(struct doc *d, const char *key)
{
	struct json_object *list = json_object_new_array(), *map = json_object_new_object();

	number_set(map, "containerID", 0);
	number_set(map, "hostID", d->spec->userns_base);
	number_set(map, "size", d->spec->userns_size);
	json_object_array_add(list, map);
	json_object_object_add(d->linux_, key, list);
}

static int namespaces_apply(struct doc *d)
{
	const struct spec *s = d->spec;
	int r = 0;

	if (d->ours || s->network != NETWORK_UNSET)
		r = namespace_set(d, "network", s->network != NETWORK_HOST);
	if (r == 0 && s->userns) {
		r = namespace_set(d, "user", true);
		id_map(d, "uidMappings");
		id_map(d, "gidMappings");
	}
	return r;
}

static void mounts_apply(struct doc *d)
{
	const struct spec_mount *m = d->spec->mounts.items;

	for (size_t i = 0; i < d->spec->mounts.len; i++)
		mount_add(d, m[i].type, m[i].source, m[i].target, m[i].options);
	if (d->spec->read_only)
		json_object_object_add(d->root, "readonly", json_object_new_boolean(1));
}

/* --cgroup wins over the bundle's path, which wins over ours; "slice:prefix:name" is systemd's way
 * to say it and stands for no path here. */
static int cgroup_apply(struct doc *d, struct settings *settings)
{
	struct json_object *path;
	const char *text;

	if (settings->cgroup[0] == '\0' &&
		json_object_object_get_ex(d->linux_, "cgroupsPath", &path)) {
		text = json_object_get_string(path);
		if (text && text[0] == '/' && !spec_cgroup_ok(text))
			return fault_plain(-EINVAL,
				"config.json: linux.cgroupsPath \"%.100s\": not a path below / without .. in it (--cgroup replaces it)",
				text);
		if (text && text[0] == '/')
			snprintf(settings->cgroup, sizeof(settings->cgroup), "%s", text);
	}
	if (settings->cgroup[0] == '\0')
		snprintf(settings->cgroup, sizeof(settings->cgroup), "/holdfast/%s/%s",
			settings->realm, settings->id);
	text_set(d->linux_, "cgroupsPath", settings->cgroup);
	return 0;
}

static int doc_apply(struct doc *d, struct settings *settings)
{
	char name[SPEC_HOSTNAME_MAX + 1];
	uint32_t uid;
	int r = process_apply(d);

	if (r == 0)
		r = user_apply(d, &uid);
	if (r == 0)
		r = caps_apply_doc(d, uid);
	if (r == 0)
		r = limits_apply(d);
	if (r == 0)
		r = devices_apply(d);
	if (r == 0)
		r = setup_apply(d);
	if (r == 0)
		r = namespaces_apply(d);
	if (r == 0) /* needs to know the namespaces and capabilities */
		r = security_apply(d);
	if (r == 0)
		r = cgroup_apply(d, settings);
	if (r < 0)
		return r;
	mounts_apply(d);
	spec_hostname(settings->id, name);
	if (d->spec->hostname || d->ours)
		text_set(d->top, "hostname", d->spec->hostname ? d->spec->hostname : name);
	return 0;
}

int spec_build(const struct spec *spec, struct settings *settings, char **ret)
{
	struct doc d = {.spec = spec};
	const char *text;
	int r = doc_open(&d);

	if (r == 0)
		r = doc_apply(&d, settings);
	if (r == 0) {
		text = json_object_to_json_string_ext(
			d.top, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
		*ret = text ? strdup(text) : NULL;
		r = *ret ? 0 : fault(-ENOMEM, "config.json");
	}
	json_object_put(d.top);
	return r;
}

void spec_command(int state_dirfd, char *ret, size_t size)
{
	auto_free char *data = NULL;
	struct json_object *top = NULL, *process, *args;
	ssize_t n = file_read(state_dirfd, "config.json", CONFIG_MAX, &data);
	size_t at = 0;

	ret[0] = '\0';
	if (n < 0 || config_parse("config.json", data, (size_t)n, &top) < 0)
		return;
	if (json_object_object_get_ex(top, "process", &process) &&
		json_object_object_get_ex(process, "args", &args) &&
		json_object_get_type(args) == json_type_array)
		for (size_t i = 0; i < json_object_array_length(args) && at + 8 < size; i++) {
			const char *arg =
				json_object_get_string(json_object_array_get_idx(args, i));

			if (i > 0)
				ret[at++] = ' ';
			at += text_escape(
				ret + at, size - at, arg ? arg : "", strlen(arg ? arg : ""));
		}
	if (at + 8 >= size && at >= 3)
		memcpy(ret + at - 3, "...", 4);
	json_object_put(top);
}
