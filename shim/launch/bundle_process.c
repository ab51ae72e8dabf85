/* config.json's process, straight into the init plan. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/resource.h>

#include "ipc/base/fault.h"
#include "ipc/base/mem.h"
#include "ipc/rlimits.h"
#include "shim/launch/bundle.h"

#define ID_NUMBER_MAX 4294967294u /* (uid_t)-1 means "leave as it is" to the kernel */
#define GROUPS_MAX    1024u

static int args(struct bundle *b, const struct node *process)
{
	struct node list;
	int r = node_array(process, "args", &list);

	if (r < 0)
		return r;
	if (r == 0 || node_count(&list) == 0)
		return node_fault(process, "args", "empty (name the command to run)");
	for (size_t i = 0; i < node_count(&list); i++) {
		const char *s;

		r = node_string_at(&list, i, &s);
		if (r < 0)
			return r;
		if (i == 0 && !s[0])
			return node_fault(process, "args[0]", "\"\": name the command to run");
		blob_more(&b->plan_blob, &b->plan.argv, s);
	}
	return 0;
}

static int env(struct bundle *b, const struct node *process)
{
	struct node list;
	int r = node_array(process, "env", &list);

	for (size_t i = 0; r == 1 && i < node_count(&list); i++) {
		const char *s;

		if (node_string_at(&list, i, &s) < 0)
			return -EINVAL;
		if (s[0] == '=' || !strchr(s, '='))
			return node_fault(process, "env", "\"%.60s\": not NAME=VALUE", s);
		blob_more(&b->plan_blob, &b->plan.envp, s);
	}
	return r < 0 ? r : 0;
}

static int cwd(struct bundle *b, const struct node *process)
{
	const char *s = "/";
	char path[4096];
	int r = node_string(process, "cwd", &s);

	if (r < 0)
		return r;
	if (r == 0)
		return node_fault(process, "cwd", "missing (use \"/\")");
	r = bundle_path(process, "cwd", s, path, sizeof(path));
	if (r == 0)
		b->plan.cwd = blob_string(&b->plan_blob, path);
	return r;
}

static int groups(struct bundle *b, const struct node *user)
{
	uint32_t ids[GROUPS_MAX];
	struct node list;
	size_t n = 0;
	int r = node_array(user, "additionalGids", &list);

	if (r < 0)
		return r;
	n = r == 1 ? node_count(&list) : 0;
	if (n > GROUPS_MAX)
		return node_fault(&list, NULL, "%zu groups, at most %u", n, GROUPS_MAX);
	for (size_t i = 0; i < n; i++) {
		uint64_t v;

		if (node_uint_at(&list, i, ID_NUMBER_MAX, &v) < 0)
			return -EINVAL;
		ids[i] = (uint32_t)v;
	}
	b->plan.groups = blob_add(&b->plan_blob, ids, n * sizeof(*ids), n);
	return 0;
}

/* An id that the user namespace does not map can't be taken: better said now than by EINVAL. */
static int mapped(struct bundle *b, const struct node *user, const char *key, struct plan_range map,
	uint64_t id)
{
	const char *base = b->blob.data + map.off;

	if (!bundle_new_ns(b, CLONE_NEWUSER))
		return 0;
	for (uint32_t i = 0; i < map.count; i++) {
		struct sandbox_idmap m;

		memcpy(&m, base + i * sizeof(m), sizeof(m));
		if (id >= m.inside && id - m.inside < m.count)
			return 0;
	}
	return node_fault(user, key, "%llu: not in the user namespace's map (extend linux.%s)",
		(unsigned long long)id, key[0] == 'u' ? "uidMappings" : "gidMappings");
}

static int user(struct bundle *b, const struct node *process)
{
	uint64_t uid = 0, gid = 0, umask = 022;
	struct node n;
	int r = node_object(process, "user", &n);

	b->plan.umask = 022;
	if (r <= 0)
		return r;
	if (node_uint(&n, "uid", 0, ID_NUMBER_MAX, &uid) < 0 ||
		node_uint(&n, "gid", 0, ID_NUMBER_MAX, &gid) < 0 ||
		node_uint(&n, "umask", 0, 0777, &umask) < 0 ||
		mapped(b, &n, "uid", b->head.uid_map, uid) < 0 ||
		mapped(b, &n, "gid", b->head.gid_map, gid) < 0)
		return -EINVAL;
	b->plan.uid = (uint32_t)uid;
	b->plan.gid = (uint32_t)gid;
	b->plan.umask = (uint32_t)umask;
	return groups(b, &n);
}

static int rlimit(struct bundle *b, const struct node *n, struct plan_rlimit *ret)
{
	const char *type = "";
	int r = node_string(n, "type", &type);

	*ret = (struct plan_rlimit){.resource = UINT32_MAX};
	for (const struct rlimit_row *row = rlimit_rows; r >= 0 && row->name; row++)
		if (strcmp(type, row->type) == 0)
			ret->resource = row->resource;
	if (r < 0 || ret->resource == UINT32_MAX)
		return r < 0 ? r
			     : node_fault(n, "type",
				       "\"%.40s\": no such limit (use RLIMIT_NOFILE, …)", type);
	if (node_uint(n, "soft", 0, UINT64_MAX, &ret->soft) < 0 ||
		node_uint(n, "hard", 0, UINT64_MAX, &ret->hard) < 0)
		return -EINVAL;
	if (ret->soft > ret->hard)
		return node_fault(n, "soft", "%llu is above hard %llu (lower it)",
			(unsigned long long)ret->soft, (unsigned long long)ret->hard);
	return 0;
}

static int rlimits(struct bundle *b, const struct node *process)
{
	struct plan_rlimit limits[RLIM_NLIMITS];
	struct node list, n;
	size_t count = 0;
	int r = node_array(process, "rlimits", &list);

	for (size_t i = 0; r == 1 && i < node_count(&list); i++) {
		if (i >= RLIM_NLIMITS)
			return node_fault(&list, NULL, "more than %d of them", RLIM_NLIMITS);
		if (node_object_at(&list, i, &n) < 0 || rlimit(b, &n, &limits[count]) < 0)
			return -EINVAL;
		for (size_t k = 0; k < count; k++)
			if (limits[k].resource == limits[count].resource)
				return node_fault(&n, "type", "given twice (keep one)");
		count++;
	}
	b->plan.rlimits = blob_add(&b->plan_blob, limits, count * sizeof(*limits), count);
	return r < 0 ? r : 0;
}

static int cap_set(const struct node *caps, const char *key, uint64_t *ret)
{
	struct node list;
	int r = node_array(caps, key, &list);

	for (size_t i = 0; r == 1 && i < node_count(&list); i++) {
		cap_value_t value;
		const char *s;

		if (node_string_at(&list, i, &s) < 0)
			return -EINVAL;
		if (cap_from_name(s, &value) != 0 || value < 0 || value > 63)
			return node_fault(
				&list, NULL, "\"%.40s\": no such capability (use CAP_CHOWN, …)", s);
		*ret |= 1ULL << value;
	}
	return r < 0 ? r : 0;
}

static int capabilities(struct bundle *b, const struct node *process)
{
	struct plan_caps *c = &b->plan.caps;
	const struct {
		const char *key;
		uint64_t *set;
	} sets[] = {
		{"bounding", &c->bounding},
		{"permitted", &c->permitted},
		{"effective", &c->effective},
		{"inheritable", &c->inheritable},
		{"ambient", &c->ambient},
	};
	struct node caps;
	int r = node_object(process, "capabilities", &caps);

	for (size_t i = 0; r == 1 && i < array_size(sets); i++)
		if (cap_set(&caps, sets[i].key, sets[i].set) < 0)
			return -EINVAL;
	if (r == 1 && (c->effective & ~c->permitted))
		return node_fault(&caps, "effective", "has what permitted lacks (add it there)");
	if (r == 1 && (c->ambient & ~(c->permitted & c->inheritable))) {
		/* The kernel raises no such bit; common generators write it all the same. */
		bundle_warn(b,
			"config.json: %s.ambient: without what permitted or inheritable lacks",
			caps.name);
		c->ambient &= c->permitted & c->inheritable;
	}
	if (r == 1 && ((c->permitted | c->inheritable) & ~c->bounding))
		return node_fault(
			&caps, "bounding", "lacks what permitted or inheritable has (add it)");
	return r < 0 ? r : 0;
}

static int console(struct bundle *b, const struct node *process)
{
	uint64_t rows = 0, cols = 0;
	struct node size;
	int r = node_object(process, "consoleSize", &size);

	if (r == 1 && (node_uint(&size, "height", 0, 65535, &rows) < 0 ||
			      node_uint(&size, "width", 0, 65535, &cols) < 0))
		return -EINVAL;
	b->head.rows = (uint32_t)rows;
	b->head.cols = (uint32_t)cols;
	return r < 0 ? r : 0;
}

static int flags(struct bundle *b, const struct node *process)
{
	bool nnp = false, terminal = false;
	int64_t adj;
	int r = node_bool(process, "noNewPrivileges", &nnp);

	if (r < 0 || node_bool(process, "terminal", &terminal) < 0)
		return -EINVAL;
	if (nnp)
		b->plan.flags |= PLAN_NO_NEW_PRIVS;
	if (terminal && !(b->set->flags & SETTINGS_TTY))
		bundle_warn(b, "config.json: process.terminal: no terminal without -t");
	r = node_int(process, "oomScoreAdj", -1000, 1000, &adj);
	if (r == 1) {
		b->head.flags |= SANDBOX_OOM_ADJ;
		b->head.oom_score_adj = (int32_t)adj;
	}
	return r < 0 ? r : 0;
}

int bundle_process(struct bundle *b)
{
	static int (*const parts[])(struct bundle *, const struct node *) = {
		args, env, cwd, user, rlimits, capabilities, console, flags};
	struct node process;
	int r = node_object(&b->root, "process", &process);

	if (r == 0)
		return node_fault(&b->root, "process", "missing (name the command to run)");
	for (size_t i = 0; r >= 0 && i < array_size(parts); i++)
		r = parts[i](b, &process);
	return r < 0 ? r : 0;
}
