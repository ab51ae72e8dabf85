#include "cli/opt_resources.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "cli/cpulist.h"
#include "cli/devices.h"
#include "cli/run_options.h"
#include "ipc/base/fault.h"
#include "ipc/base/file.h"
#include "ipc/base/parse.h"

#define MEMORY_MIN (1u << 20)

static struct spec_resources *resources(void *ctx)
{
	return &((struct run *)ctx)->spec.resources;
}

int opt_memory(void *ctx, const struct option *o, const char *value)
{
	int r = option_size(ctx, o, value);

	if (r == 0 && ((struct run *)ctx)->spec.memory < MEMORY_MIN)
		return option_bad(o, value, "nothing can run in less than 1m");
	return r;
}

int opt_size(void *ctx, const struct option *o, const char *value)
{
	uint64_t *field = (uint64_t *)(void *)((char *)ctx + o->at);
	int r = option_size(ctx, o, value);

	if (r == 0 && *field < 4096)
		return option_bad(o, value, "less than a page (use 64m, 2G, ...)");
	return r;
}

int opt_memory_swap(void *ctx, const struct option *o, const char *value)
{
	struct spec_resources *res = resources(ctx);

	res->swap_unlimited = strcmp(value, "-1") == 0;
	res->memory_swap = 0;
	return res->swap_unlimited ? 0 : opt_size(ctx, o, value);
}

int opt_weight(void *ctx, const struct option *o, const char *value)
{
	uint64_t *field = (uint64_t *)(void *)((char *)ctx + o->at);

	if (parse_u64("", value, 1, 10000, field) < 0)
		return option_bad(o, value, "not a weight from 1 to 10000 (100 is everybody's)");
	return 0;
}

/* systemd's word (CPUWeight=). */
int opt_cpu_weight(void *ctx, const struct option *o, const char *value)
{
	struct spec_resources *r = &((struct run *)ctx)->spec.resources;

	r->cpu_idle = strcmp(value, "idle") == 0;
	r->cpu_weight = 0;
	if (r->cpu_idle)
		return 0;
	if (parse_u64("", value, 1, 10000, &r->cpu_weight) < 0)
		return option_bad(
			o, value, "not a weight from 1 to 10000 (100 is everybody's), or idle");
	return 0;
}

int opt_pids(void *ctx, const struct option *o, const char *value)
{
	struct spec *spec = &((struct run *)ctx)->spec;

	spec->pids_set = true;
	return parse_u64(option_shown(o), value, 0, 4194304, &spec->pids);
}

/* have: a file of sysfs, one line. A host without it has number 0 alone. */
static int list_check(const struct option *o, const char *value, const char *file, const char *noun)
{
	struct cpulist want, have;
	char text[1024] = "0";
	int missing;

	if (cpulist_parse(value, &want) < 0)
		return option_bad(o, value, "not a list of numbers and ranges (use 0-3,7)");
	if (file_read_buf(AT_FDCWD, file, text, sizeof(text)) > 0)
		text[strcspn(text, "\n")] = '\0';
	if (cpulist_parse(text, &have) < 0)
		return 0; /* the kernel knows, and will tell */
	missing = cpulist_missing(&want, &have);
	if (missing < 0)
		return 0;
	return fault_plain(-EINVAL, "--%s \"%.200s\": there is no %s %d (this host has %s)",
		o->name, value, noun, missing, text);
}

int opt_cpuset_cpus(void *ctx, const struct option *o, const char *value)
{
	resources(ctx)->cpuset_cpus = value;
	return list_check(o, value, "/sys/devices/system/cpu/online", "CPU");
}

int opt_cpuset_mems(void *ctx, const struct option *o, const char *value)
{
	resources(ctx)->cpuset_mems = value;
	return list_check(o, value, "/sys/devices/system/node/online", "memory node");
}

int opt_device(void *ctx, const struct option *o, const char *value)
{
	return devices_add(o, value, &resources(ctx)->devices);
}

static int usage(const char *text)
{
	return fault_plain(-EINVAL, "%s", text);
}

int opt_resources_check(const struct run *run)
{
	const struct spec_resources *res = &run->spec.resources;
	uint64_t memory = run->spec.memory;
	bool swap = res->memory_swap || res->swap_unlimited;

	if (swap && !memory && !run->spec.bundle)
		return usage(
			"--memory-swap: counts memory and swap together, so it needs a limit of "
			"memory (add --memory SIZE)");
	if (memory && res->memory_swap && res->memory_swap < memory)
		return usage("--memory-swap: counts memory and swap together, so it can't be below "
			     "--memory (raise it; equal means no swap, -1 no limit on swap)");
	if (memory && res->memory_reservation > memory)
		return usage(
			"--memory-reservation: above --memory, it could never be kept (lower it)");
	return 0;
}
