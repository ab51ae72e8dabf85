/* linux.resources of config.json: limits and device rules. */
#include <errno.h>
#include <string.h>

#include "ipc/base/fault.h"
#include "ipc/base/mem.h"
#include "ipc/base/parse.h"
#include "shim/launch/bundle.h"

static const struct limit_key {
	const char *group, *key;
	enum limit_id id;
	int64_t min, max;
} limit_keys[] = {
	{"memory", "limit", LIMIT_MEM, 65536, INT64_MAX},
	{"memory", "swap", LIMIT_MEM_SWAP, 65536, INT64_MAX},
	{"memory", "reservation", LIMIT_MEM_RESERVE, 0, INT64_MAX},
	{"cpu", "quota", LIMIT_CPU_QUOTA, 1000, INT64_MAX},
	{"cpu", "period", LIMIT_CPU_PERIOD, 1000, 1000000},
	{"cpu", "shares", LIMIT_CPU_SHARES, 2, 262144},
	{"cpu", "idle", LIMIT_CPU_IDLE, 1, 1},
	{"pids", "limit", LIMIT_PIDS, 1, 4194304},
	{"blockIO", "weight", LIMIT_BLKIO_WEIGHT, 10, 1000},
};

/* -1 (and 0, which encoders write for "not set") mean no limit of this kind. */
static int limit(struct bundle *b, const struct node *resources, const struct limit_key *k)
{
	uint64_t *to = &b->head.limits.value[k->id];
	struct node group;
	int64_t v;
	int r = node_object(resources, k->group, &group);

	if (r != 1 || (r = node_int(&group, k->key, INT64_MIN, INT64_MAX, &v)) != 1)
		return r;
	if (v == 0)
		return 0;
	if (v < 0) {
		*to = LIMIT_NONE;
		return 0;
	}
	if (v < k->min || v > k->max)
		return node_fault(&group, k->key, "%lld is not in %lld..%lld (or -1: no limit)",
			(long long)v, (long long)k->min, (long long)k->max);
	*to = (uint64_t)v;
	return 0;
}

static int swap_rule(struct bundle *b, const struct node *resources)
{
	uint64_t mem = b->head.limits.value[LIMIT_MEM], swap = b->head.limits.value[LIMIT_MEM_SWAP];

	if (swap >= LIMIT_UNGIVEN || mem >= LIMIT_UNGIVEN || swap >= mem)
		return 0;
	return node_fault(resources, "memory.swap",
		"%llu is below memory.limit %llu (it counts memory and swap together)",
		(unsigned long long)swap, (unsigned long long)mem);
}

static int cpuset(struct bundle *b, const struct node *resources)
{
	const char *cpus = "", *mems = "";
	struct node cpu;
	int r = node_object(resources, "cpu", &cpu);

	if (r != 1)
		return r;
	if (node_string(&cpu, "cpus", &cpus) < 0 || node_string(&cpu, "mems", &mems) < 0)
		return -EINVAL;
	if (cpus[strspn(cpus, "0123456789,-")] || mems[strspn(mems, "0123456789,-")])
		return node_fault(&cpu, "cpus", "not a list like \"0-3,7\"");
	if (cpus[0])
		b->head.limits.cpuset_cpus = blob_string(&b->blob, cpus);
	if (mems[0])
		b->head.limits.cpuset_mems = blob_string(&b->blob, mems);
	return 0;
}

/* Harmless members are told, dangerous ones refused. */
static int memory_member(void *ctx, const char *key, const struct node *value)
{
	static const char *const known[] = {"limit", "swap", "reservation"};

	for (size_t i = 0; i < array_size(known); i++)
		if (strcmp(key, known[i]) == 0)
			return 0;
	if (strcmp(key, "disableOOMKiller") == 0 && !node_empty(value))
		return node_fault(value, NULL, "a container over its limit would hang (remove it)");
	if (!node_empty(value) && strcmp(key, "checkBeforeUpdate") != 0 &&
		strcmp(key, "useHierarchy") != 0)
		bundle_warn(ctx, "config.json: %s: not supported, ignored", value->name);
	return 0;
}

/* What v1 can do as well, under another name: kept as numbers, for launch to choose. False: not one
 * of these, or a weight of one device, which only v2 has. */
static bool unified_weight(struct bundle *b, const char *key, const char *text, int *r)
{
	static const struct {
		const char *file;
		enum limit_id id;
	} weights[] = {{"cpu.weight", LIMIT_CPU_WEIGHT}, {"io.weight", LIMIT_IO_WEIGHT}};

	for (size_t i = 0; i < array_size(weights); i++) {
		if (strcmp(key, weights[i].file) != 0 || strchr(text, ':'))
			continue;
		if (i == 1 && strncmp(text, "default ", 8) == 0)
			text += 8;
		*r = parse_u64("", text, 1, 10000, &b->head.limits.value[weights[i].id]);
		return true;
	}
	return false;
}

static int unified_member(void *ctx, const char *key, const struct node *value)
{
	struct bundle *b = ctx;
	int r = 0;

	if (!key[0] || strchr(key, '/') || key[0] == '.')
		return node_fault(value, NULL, "not the name of a cgroup file");
	if (strncmp(key, "cgroup.", 7) == 0)
		return node_fault(value, NULL, "belongs to the supervisor (remove it)");
	if (!node_is_string(value))
		return node_fault(value, NULL, "not a string");
	if (unified_weight(b, key, node_text(value), &r))
		return r < 0 ? node_fault(value, NULL, "\"%.40s\": not a number from 1 to 10000",
				       node_text(value))
			     : 0;
	if (b->head.limits.unified.count >= 128)
		return node_fault(value, NULL, "more than 64 of them");
	blob_more(&b->blob, &b->head.limits.unified, key);
	blob_more(&b->blob, &b->head.limits.unified, node_text(value));
	return 0;
}

static int access_bits(const struct node *n, const char *s, uint32_t *ret)
{
	*ret = 0;
	for (; *s; s++) {
		if (*s != 'r' && *s != 'w' && *s != 'm')
			return node_fault(n, "access", "\"%.10s\": not made of r, w and m", s);
		*ret |= *s == 'r' ? DEV_READ : *s == 'w' ? DEV_WRITE : DEV_MKNOD;
	}
	return 0;
}

static int devrule(const struct node *n, struct sandbox_devrule *d)
{
	const char *type = "a", *access = "rwm";
	bool allow = false;

	*d = (struct sandbox_devrule){.major = -1, .minor = -1};
	if (node_string(n, "type", &type) < 0 || node_string(n, "access", &access) < 0 ||
		node_bool(n, "allow", &allow) < 0 ||
		node_int(n, "major", -1, 4095, &d->major) < 0 ||
		node_int(n, "minor", -1, 1048575, &d->minor) < 0 ||
		access_bits(n, access, &d->access) < 0)
		return -EINVAL;
	if (!type[0])
		type = "a";
	if (type[1] || !strchr("abc", type[0]))
		return node_fault(n, "type", "\"%.20s\": not a, b or c", type);
	if (type[0] == 'a' && (d->major >= 0 || d->minor >= 0 || d->access != DEV_ALL))
		return node_fault(n, "type",
			"\"a\" (or none) means all devices, whatever major, minor and access say "
			"(use b or c)");
	d->type = (unsigned char)type[0];
	d->allow = allow;
	return 0;
}

static int devrules(struct bundle *b, const struct node *resources)
{
	struct sandbox_devrule rules[SANDBOX_DEVICES];
	struct node array, n;
	size_t count = 0;
	int r = node_array(resources, "devices", &array);

	for (size_t i = 0; r == 1 && i < node_count(&array); i++) {
		if (i >= SANDBOX_DEVICES)
			return node_fault(&array, NULL, "more than %u of them", SANDBOX_DEVICES);
		if (node_object_at(&array, i, &n) < 0 || devrule(&n, &rules[i]) < 0)
			return -EINVAL;
		count++;
	}
	b->head.devrules = blob_add(&b->blob, rules, count * sizeof(*rules), count);
	return r < 0 ? r : 0;
}

static int configured(struct bundle *b)
{
	struct node linux_, resources, group;
	int r = node_object(&b->root, "linux", &linux_);

	if (r != 1 || (r = node_object(&linux_, "resources", &resources)) != 1) {
		bundle_changed_files(b);
		return r;
	}
	for (size_t i = 0; r >= 0 && i < array_size(limit_keys); i++)
		r = limit(b, &resources, &limit_keys[i]);
	if (r >= 0 && (r = node_object(&resources, "memory", &group)) == 1)
		r = node_each(&group, memory_member, b);
	if (r >= 0 && (r = node_object(&resources, "unified", &group)) == 1)
		r = node_each(&group, unified_member, b);
	bundle_changed_files(b);
	if (r >= 0)
		r = swap_rule(b, &resources);
	if (r >= 0)
		r = cpuset(b, &resources);
	if (r >= 0)
		r = devrules(b, &resources);
	if (b->head.limits.value[LIMIT_CPU_PERIOD] < LIMIT_UNGIVEN &&
		b->head.limits.value[LIMIT_CPU_QUOTA] == LIMIT_UNGIVEN)
		bundle_warn(b, "config.json: linux.resources.cpu.period: no limit without a quota");
	return r < 0 ? r : 0;
}

int bundle_resources(struct bundle *b)
{
	int r;

	for (int i = 0; i < LIMITS; i++)
		b->head.limits.value[i] = LIMIT_UNGIVEN;
	r = configured(b);
	bundle_changed(b);
	if (b->head.limits.value[LIMIT_MEM] < LIMIT_UNGIVEN)
		b->plan.mem_limit = b->head.limits.value[LIMIT_MEM];
	return r;
}
