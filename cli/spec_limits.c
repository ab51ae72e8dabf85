/* linux.resources of config.json: what the container may use. What OCI has no field for (weights in
 * v2's scale, memory.high) goes into "unified" under the kernel's own name. */
#include <errno.h>
#include <stdio.h>

#include "cli/spec_doc.h"
#include "ipc/base/fault.h"

#define PIDS_DEFAULT 4096
#define CPU_PERIOD   100000 /* us, the kernel's default */

/* A limit of the document, 0: it has none. */
static uint64_t limit_get(struct json_object *group, const char *key)
{
	struct json_object *v;

	if (!json_object_object_get_ex(group, key, &v) || json_object_get_int64(v) < 0)
		return 0;
	return json_object_get_uint64(v);
}

/* Memory and swap together. The bundle's own limit counts where --memory is not given. */
static int swap_apply(const struct spec *s, struct json_object *memory)
{
	uint64_t limit = limit_get(memory, "limit"), swap = s->resources.memory_swap;

	if (s->resources.swap_unlimited)
		json_object_object_add(memory, "swap", json_object_new_int64(-1));
	else if (swap)
		number_set(memory, "swap", swap);
	else if (s->memory)
		number_set(memory, "swap", s->memory); /* none */
	if (swap && limit == 0)
		return fault_plain(-EINVAL,
			"--memory-swap: counts memory and swap together, so it needs a limit of memory, "
			"and config.json has none (add --memory SIZE)");
	if (swap && swap < limit)
		return fault_plain(-EINVAL,
			"--memory-swap \"%llu\": counts memory and swap together, so it can't be below "
			"config.json's limit %llu (raise it, or lower that with --memory)",
			(unsigned long long)swap, (unsigned long long)limit);
	return 0;
}

static int memory_apply(struct doc *d)
{
	const struct spec *s = d->spec;
	struct json_object *memory;
	int r = section(d->resources, "memory", json_type_object, &memory);

	if (r < 0)
		return r;
	if (s->memory)
		number_set(memory, "limit", s->memory);
	if (s->resources.memory_reservation)
		number_set(memory, "reservation", s->resources.memory_reservation);
	return swap_apply(s, memory);
}

static int cpu_apply(struct doc *d)
{
	const struct spec *s = d->spec;
	struct json_object *cpu;
	int r = section(d->resources, "cpu", json_type_object, &cpu);

	if (r < 0)
		return r;
	if (s->cpus) {
		number_set(cpu, "quota", s->cpus * CPU_PERIOD / 1000);
		number_set(cpu, "period", CPU_PERIOD);
	}
	if (s->resources.cpu_weight || s->resources.cpu_idle)
		json_object_object_del(cpu, "shares"); /* one of them counts */
	if (s->resources.cpu_idle)
		number_set(cpu, "idle", 1);
	else if (s->resources.cpu_weight)
		json_object_object_del(cpu, "idle");
	if (s->resources.cpuset_cpus)
		text_set(cpu, "cpus", s->resources.cpuset_cpus);
	if (s->resources.cpuset_mems)
		text_set(cpu, "mems", s->resources.cpuset_mems);
	return 0;
}

static int pids_apply(struct doc *d)
{
	const struct spec *s = d->spec;
	struct json_object *pids;
	int r = section(d->resources, "pids", json_type_object, &pids);

	if (r < 0)
		return r;
	if (!s->pids_set && d->ours)
		number_set(pids, "limit", PIDS_DEFAULT);
	else if (s->pids)
		number_set(pids, "limit", s->pids);
	else if (s->pids_set)
		json_object_object_del(pids, "limit");
	return 0;
}

static int unified_set(struct doc *d, const char *file, uint64_t value)
{
	struct json_object *unified;
	char text[24];
	int r = value ? section(d->resources, "unified", json_type_object, &unified) : 0;

	if (r < 0 || !value)
		return r;
	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	text_set(unified, file, text);
	return 0;
}

int limits_apply(struct doc *d)
{
	const struct spec_resources *res = &d->spec->resources;
	int r = memory_apply(d);

	if (r == 0)
		r = cpu_apply(d);
	if (r == 0)
		r = pids_apply(d);
	if (r == 0)
		r = unified_set(d, "memory.high", res->memory_high);
	if (r == 0)
		r = unified_set(d, "cpu.weight", res->cpu_weight);
	return r < 0 ? r : unified_set(d, "io.weight", res->io_weight);
}
