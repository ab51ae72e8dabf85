#include "cli/opt_mounts.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/run_options.h"
#include "ipc/base/fault.h"
#include "ipc/base/mem.h"
#include "ipc/base/parse.h"

#define MODE_MAX 07777

/* One --mount while its fields are read. */
struct words {
	const struct option *option;
	const char *value; /* all of it, for messages */
	const char *type, *source, *target;
	bool readonly, flat, bind_only, tmpfs_only;
	uint64_t size;
	unsigned mode;
	bool has_mode;
	const char *last; /* the newest key that only one type has */
};

bool opt_path_ok(const char *path)
{
	size_t len = strlen(path);

	return path[0] == '/' && !strstr(path, "/../") &&
	       (len < 3 || strcmp(path + len - 3, "/..") != 0);
}

static bool is_root(const char *path)
{
	return path[strspn(path, "/")] == '\0';
}

/* Takes over what m owns. */
static int mount_put(struct run *run, struct spec_mount m)
{
	int r = m.text && m.options ? spec_list_add(&run->spec.mounts, &m, sizeof(m))
				    : fault(-ENOMEM, "options");

	if (r < 0) {
		free(m.text);
		free(m.options);
	}
	return r;
}

/* SRC:DST[:ro|rw] */
int opt_volume(void *ctx, const struct option *o, const char *value)
{
	auto_free char *text = strdup(value);
	char *rest = text, *src = strsep(&rest, ":"), *dst = strsep(&rest, ":");
	const char *mode = rest ? rest : "rw";
	struct spec_mount m = {.type = "bind"};

	if (!src || !dst || (strcmp(mode, "ro") != 0 && strcmp(mode, "rw") != 0))
		return option_bad(o, value, "use SRC:DST or SRC:DST:ro");
	if (!opt_path_ok(src) || !opt_path_ok(dst))
		return option_bad(o, value, "SRC and DST must be absolute paths without ..");
	if (is_root(dst))
		return option_bad(o, value, "DST is the root directory (use --rootfs SRC)");
	if (access(src, F_OK) < 0)
		return option_bad(o, value, "SRC does not exist (make it first)");
	if (asprintf(&m.options, "rbind,rprivate,nosuid,nodev,%s", mode) < 0)
		m.options = NULL;
	m.source = src;
	m.target = dst;
	m.text = take(text);
	return mount_put(ctx, m);
}

/* DST[:OPTIONS] */
int opt_tmpfs(void *ctx, const struct option *o, const char *value)
{
	auto_free char *text = strdup(value);
	char *rest = text, *dst = strsep(&rest, ":");
	struct spec_mount m = {.type = "tmpfs", .source = "tmpfs", .target = dst};

	if (!dst || !opt_path_ok(dst))
		return option_bad(o, value, "not an absolute path (use /run, or /run:size=16m)");
	if (is_root(dst))
		return option_bad(
			o, value, "that is the root directory (use --read-only, or --rootfs)");
	if (asprintf(&m.options, "nosuid,nodev,noexec,%s", rest ? rest : "") < 0)
		m.options = NULL;
	m.text = take(text);
	return mount_put(ctx, m);
}

/* --mount ----------------------------------------------------------------------------------------
 */

static int __attribute__((format(printf, 2, 3))) bad(const struct words *w, const char *fmt, ...)
{
	char what[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return option_bad(w->option, w->value, what);
}

static int take_type(struct words *w, const char *key, const char *v)
{
	if (strcmp(v, "bind") != 0 && strcmp(v, "tmpfs") != 0)
		return bad(w, "type=%.40s: no such type (use bind or tmpfs)", v);
	w->type = v;
	return 0;
}

static int take_source(struct words *w, const char *key, const char *v)
{
	if (!opt_path_ok(v))
		return bad(w, "%s: not an absolute path without ..", key);
	w->source = v;
	return 0;
}

static int take_target(struct words *w, const char *key, const char *v)
{
	if (!opt_path_ok(v) || is_root(v))
		return bad(w, "%s: not an absolute path below / without ..", key);
	w->target = v;
	return 0;
}

/* A flag alone, or with the words that programs write. */
static int take_bool(struct words *w, const char *key, const char *v, bool *ret)
{
	static const char *const yes[] = {"", "true", "1"}, *const no[] = {"false", "0"};

	for (size_t i = 0; i < array_size(yes); i++)
		if (strcmp(v, yes[i]) == 0) {
			*ret = true;
			return 0;
		}
	for (size_t i = 0; i < array_size(no); i++)
		if (strcmp(v, no[i]) == 0) {
			*ret = false;
			return 0;
		}
	return bad(w, "%s=%.40s: use true or false", key, v);
}

static int take_readonly(struct words *w, const char *key, const char *v)
{
	return take_bool(w, key, v, &w->readonly);
}

static int take_nonrecursive(struct words *w, const char *key, const char *v)
{
	return take_bool(w, key, v, &w->flat);
}

/* What is mounted here stays here, and the host's later mounts stay outside: the sandbox's mount
 * tree has no peers. */
static int take_propagation(struct words *w, const char *key, const char *v)
{
	if (strcmp(v, "private") != 0 && strcmp(v, "rprivate") != 0)
		return bad(w, "%s=%.40s: mounts are private here (use rprivate, or leave it out)",
			key, v);
	return 0;
}

static int take_recursive(struct words *w, const char *key, const char *v)
{
	if (strcmp(v, "enabled") != 0 && strcmp(v, "disabled") != 0)
		return bad(w, "%s=%.40s: use enabled or disabled", key, v);
	w->flat = v[0] == 'd';
	return 0;
}

static int take_size(struct words *w, const char *key, const char *v)
{
	if (parse_size("", v, &w->size) < 0 || !w->size)
		return bad(w, "%s=%.40s: not a size (use 64k, 16m, 1g)", key, v);
	return 0;
}

static int take_mode(struct words *w, const char *key, const char *v)
{
	char *end;
	unsigned long mode = strtoul(v, &end, 8);

	if (!*v || *end || v[strspn(v, "01234567")] || mode > MODE_MAX)
		return bad(w, "%s=%.40s: not an octal mode (use 1777, 0700)", key, v);
	w->mode = (unsigned)mode;
	w->has_mode = true;
	return 0;
}

/* Accepted and without effect, as on every Linux engine. */
static int take_nothing(struct words *w, const char *key, const char *v)
{
	return 0;
}

enum only { ANY, BIND, TMPFS };

static const struct key {
	const char *name;
	enum only only;
	bool flag; /* may stand without a value */
	int (*set)(struct words *w, const char *key, const char *value);
} keys[] = {
	{"type", ANY, false, take_type},
	{"source", BIND, false, take_source},
	{"src", BIND, false, take_source},
	{"target", ANY, false, take_target},
	{"destination", ANY, false, take_target},
	{"dst", ANY, false, take_target},
	{"readonly", ANY, true, take_readonly},
	{"ro", ANY, true, take_readonly},
	{"bind-propagation", BIND, false, take_propagation},
	{"bind-recursive", BIND, false, take_recursive},
	{"bind-nonrecursive", BIND, true, take_nonrecursive},
	{"consistency", ANY, false, take_nothing},
	{"tmpfs-size", TMPFS, false, take_size},
	{"tmpfs-mode", TMPFS, false, take_mode},
};

static int take_field(struct words *w, char *field)
{
	char *value = strchr(field, '=');

	if (value)
		*value++ = '\0';
	for (size_t i = 0; i < array_size(keys); i++) {
		if (strcmp(keys[i].name, field) != 0)
			continue;
		if (!value && !keys[i].flag)
			return bad(w, "%s: needs a value (%s=...)", field, field);
		if (keys[i].only != ANY)
			w->last = keys[i].name;
		w->bind_only |= keys[i].only == BIND;
		w->tmpfs_only |= keys[i].only == TMPFS;
		return keys[i].set(w, keys[i].name, value ? value : "");
	}
	return bad(w,
		"%.40s: no such key (use type, source, target, readonly, bind-propagation, bind-recursive, tmpfs-size, tmpfs-mode)",
		field);
}

/* The next field of a line of comma-separated values, in place: "..." may hold commas, and "" in it
 * is a quote. NULL at the end, or, with *rest left standing, where a quote is never closed. */
static char *next_field(char **rest)
{
	char *start = *rest, *in = start, *out = start;
	bool quoted = start && *start == '"';

	if (!start)
		return NULL;
	in += quoted;
	while (*in && (quoted || *in != ',')) {
		if (quoted && in[0] == '"' && in[1] != '"')
			break;
		in += quoted && in[0] == '"';
		*out++ = *in++;
	}
	if (quoted && (*in != '"' || (in[1] && in[1] != ',')))
		return NULL;
	in += quoted;
	*rest = *in ? in + 1 : NULL;
	*out = '\0';
	return start;
}

static int whole(const struct words *w)
{
	bool bind = w->type && strcmp(w->type, "bind") == 0;

	if (!w->type)
		return bad(w, "type is missing (type=bind or type=tmpfs)");
	if (!w->target)
		return bad(w, "target is missing (target=/where/inside)");
	if (bind && !w->source)
		return bad(w, "source is missing (source=/on/the/host)");
	if (bind ? w->tmpfs_only : w->bind_only)
		return bad(w, "%s has no meaning for type=%s (leave it out)", w->last, w->type);
	if (bind && access(w->source, F_OK) < 0)
		return bad(w, "source %.200s does not exist (make it first)", w->source);
	return 0;
}

static char *mount_options(const struct words *w)
{
	char size[40] = "", mode[20] = "", *text = NULL;
	const char *ro = w->readonly ? "ro" : "rw";

	if (w->size)
		snprintf(size, sizeof(size), ",size=%llu", (unsigned long long)w->size);
	if (w->has_mode)
		snprintf(mode, sizeof(mode), ",mode=%04o", w->mode);
	if (strcmp(w->type, "bind") == 0
			? asprintf(&text, "%s,rprivate,nosuid,nodev,%s", w->flat ? "bind" : "rbind",
				  ro) < 0
			: asprintf(&text, "nosuid,nodev,noexec,%s%s%s", ro, size, mode) < 0)
		return NULL;
	return text;
}

int opt_mount(void *ctx, const struct option *o, const char *value)
{
	struct words w = {.option = o, .value = value};
	auto_free char *text = strdup(value);
	char *rest = text, *field;
	struct spec_mount m = {.type = "bind"};
	int r = text ? 0 : fault(-ENOMEM, "--mount");

	while (r == 0 && (field = next_field(&rest)))
		r = take_field(&w, field);
	if (r == 0 && rest)
		r = bad(&w, "a quote is not closed, or something follows it");
	if (r == 0)
		r = whole(&w);
	if (r < 0)
		return r;
	m.type = strcmp(w.type, "bind") == 0 ? "bind" : "tmpfs";
	m.source = w.source ? w.source : "tmpfs";
	m.target = w.target;
	m.options = mount_options(&w);
	m.text = take(text);
	return mount_put(ctx, m);
}
