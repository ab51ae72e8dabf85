/* The reading side of the flat sandbox. Nothing here trusts an offset, a count or a kind: the
 * writer parsed hostile text. Meaning was checked by the writer for the user's sake; what is
 * checked again is all that memory safety and the recipe's own assumptions rest on. */
#include "shim/launch/sandbox.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "ipc/base/fault.h"
#include "ipc/base/mem.h"
#include "ipc/sysctl.h"

#define NAMESPACES                                                                                 \
	(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWUSER | \
		CLONE_NEWCGROUP)

const void *sandbox_range(const struct sandbox *sb, struct plan_range r, size_t elem)
{
	const char *base = (const char *)sb + r.off;
	uint32_t nuls = 0;

	if (r.len == 0 && r.count == 0)
		return sb; /* an empty list: any non-NULL address */
	if (r.off < sizeof(*sb) || r.off > sb->size || r.len > sb->size - r.off)
		return NULL;
	if (elem != 1)
		return (uint64_t)r.count * elem == r.len && r.off % 8 == 0 ? base : NULL;
	for (uint32_t i = 0; i < r.len; i++)
		nuls += base[i] == '\0';
	return nuls == r.count && r.len > 0 && base[r.len - 1] == '\0' ? base : NULL;
}

const char *sandbox_string(const struct sandbox *sb, struct plan_range r)
{
	const char *s = r.count == 1 ? sandbox_range(sb, r, 1) : NULL;

	return s ? s : "";
}

struct sandbox_walk sandbox_walk(const struct sandbox *sb, struct plan_range r)
{
	const char *s = r.count ? sandbox_range(sb, r, 1) : NULL;

	return (struct sandbox_walk){s, s ? s + r.len : NULL};
}

const char *sandbox_next(struct sandbox_walk *w)
{
	const char *s = w->at;

	if (s == w->end)
		return NULL;
	w->at = s + strlen(s) + 1;
	return s;
}

/* Every list: where it stands, its element, how many it may hold. */
static const struct list_rule {
	const char *name;
	size_t at, elem;
	uint32_t max;
} lists[] = {
	{"root", offsetof(struct sandbox, root), 1, 1},
	{"hostname", offsetof(struct sandbox, hostname), 1, 1},
	{"domainname", offsetof(struct sandbox, domainname), 1, 1},
	{"joins", offsetof(struct sandbox, joins), sizeof(struct sandbox_join), SANDBOX_JOINS},
	{"uid_map", offsetof(struct sandbox, uid_map), sizeof(struct sandbox_idmap),
		SANDBOX_IDMAPS},
	{"gid_map", offsetof(struct sandbox, gid_map), sizeof(struct sandbox_idmap),
		SANDBOX_IDMAPS},
	{"mounts", offsetof(struct sandbox, mounts), sizeof(struct sandbox_mount), SANDBOX_MOUNTS},
	{"devices", offsetof(struct sandbox, devices), sizeof(struct sandbox_device),
		SANDBOX_DEVICES},
	{"devrules", offsetof(struct sandbox, devrules), sizeof(struct sandbox_devrule),
		SANDBOX_DEVICES},
	{"masked", offsetof(struct sandbox, masked), 1, SANDBOX_PATHS},
	{"readonly", offsetof(struct sandbox, readonly), 1, SANDBOX_PATHS},
	{"sysctls", offsetof(struct sandbox, sysctls), 1, SANDBOX_PATHS},
	{"unified", offsetof(struct sandbox, limits.unified), 1, SANDBOX_PATHS},
	{"cpus", offsetof(struct sandbox, limits.cpuset_cpus), 1, 1},
	{"mems", offsetof(struct sandbox, limits.cpuset_mems), 1, 1},
};

static int bad(const char *what)
{
	return fault_plain(-EBADMSG, "the flat form of config.json is damaged: %s", what);
}

static bool strings_absolute(const struct sandbox *sb, struct plan_range r)
{
	struct sandbox_walk w = sandbox_walk(sb, r);

	for (const char *s; (s = sandbox_next(&w));)
		if (s[0] != '/')
			return false;
	return true;
}

static int check_mounts(const struct sandbox *sb)
{
	const struct sandbox_mount *m = sandbox_range(sb, sb->mounts, sizeof(*m));

	for (uint32_t i = 0; i < sb->mounts.count; i++, m++) {
		if (m->target.count != 1 || m->source.count > 1 || m->kind >= MOUNT_KINDS ||
			!sandbox_range(sb, m->target, 1) || !sandbox_range(sb, m->source, 1) ||
			!sandbox_range(sb, m->options, 1))
			return bad("mounts");
		if (sandbox_string(sb, m->target)[0] != '/' ||
			(m->kind == MOUNT_BIND && sandbox_string(sb, m->source)[0] != '/'))
			return bad("mounts (path)");
	}
	return 0;
}

static int check_devices(const struct sandbox *sb)
{
	const struct sandbox_device *d = sandbox_range(sb, sb->devices, sizeof(*d));

	for (uint32_t i = 0; i < sb->devices.count; i++, d++) {
		uint32_t type = d->mode & S_IFMT;
		const char *path = sandbox_string(sb, d->path);

		if (strncmp(path, "/dev/", 5) != 0 || !path[5])
			return bad("devices (path)");
		if (type != S_IFCHR && type != S_IFBLK && type != S_IFIFO)
			return bad("devices (type)");
	}
	return 0;
}

static int check_joins(const struct sandbox *sb)
{
	const struct sandbox_join *j = sandbox_range(sb, sb->joins, sizeof(*j));

	for (uint32_t i = 0; i < sb->joins.count; i++)
		if (sandbox_string(sb, j[i].path)[0] != '/' ||
			(j[i].type != CLONE_NEWNET && j[i].type != CLONE_NEWIPC &&
				j[i].type != CLONE_NEWUTS))
			return bad("joins");
	return 0;
}

/* A program with a blanket rule that is none would be refused by the verifier. */
static int check_devrules(const struct sandbox *sb)
{
	const struct sandbox_devrule *d = sandbox_range(sb, sb->devrules, sizeof(*d));

	for (uint32_t i = 0; i < sb->devrules.count; i++, d++)
		if ((d->type != 'a' && d->type != 'b' && d->type != 'c') ||
			(d->access & ~(uint32_t)DEV_ALL) ||
			(d->type == 'a' &&
				(d->major >= 0 || d->minor >= 0 || d->access != DEV_ALL)))
			return bad("devrules");
	return 0;
}

/* Keys become file names: one with ".." in it would lead out of the group, or out of what belongs
 * to the namespaces. */
static int check_keys(const struct sandbox *sb)
{
	struct sandbox_walk unified = sandbox_walk(sb, sb->limits.unified);
	struct sandbox_walk sysctls = sandbox_walk(sb, sb->sysctls);
	char path[256];

	for (const char *key; (key = sandbox_next(&unified)); sandbox_next(&unified))
		if (!key[0] || key[0] == '.' || strchr(key, '/') || strncmp(key, "cgroup.", 7) == 0)
			return bad("unified (key)");
	for (const char *key; (key = sandbox_next(&sysctls)); sandbox_next(&sysctls))
		if (sysctl_path(key, path, sizeof(path)) < 0 || strcmp(path, key) != 0)
			return bad("sysctls (key)");
	return 0;
}

int sandbox_check(const struct sandbox *sb, size_t size)
{
	if (size < sizeof(*sb) || size > SANDBOX_SIZE_MAX || sb->magic != SANDBOX_MAGIC ||
		sb->size != size)
		return bad("header");
	if (!memchr(sb->error, 0, sizeof(sb->error)) ||
		!memchr(sb->warnings, 0, sizeof(sb->warnings)))
		return bad("text");
	if (sb->namespaces & ~(uint64_t)NAMESPACES)
		return bad("namespaces");
	for (size_t i = 0; i < array_size(lists); i++) {
		struct plan_range r;

		memcpy(&r, (const char *)sb + lists[i].at, sizeof(r));
		if (r.count > lists[i].max || !sandbox_range(sb, r, lists[i].elem))
			return bad(lists[i].name);
	}
	if (sb->sysctls.count % 2 || sb->limits.unified.count % 2)
		return bad("pairs");
	if (!strings_absolute(sb, sb->masked) || !strings_absolute(sb, sb->readonly))
		return bad("paths");
	if (check_keys(sb) < 0 || check_joins(sb) < 0 || check_devrules(sb) < 0 ||
		check_mounts(sb) < 0)
		return -EBADMSG;
	return check_devices(sb);
}
