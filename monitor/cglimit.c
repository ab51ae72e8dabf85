#include "monitor/cglimit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/file.h"
#include "monitor/cgenter.h"
#include "monitor/cgstat.h"

#define CPU_PERIOD     100000u /* usec */
#define WEIGHT_DEFAULT 100u
#define SHARES_DEFAULT 1024u
#define SHARES_MIN     2u
#define V1_NO_LIMIT    (1ULL << 62)
#define NONE	       UINT64_MAX

struct change {
	const struct cghier *hier;
	const char *path;
	const struct changed_limits *c;
	uint32_t asked;
	struct cglimit_undo *undo;
};

static bool given(const struct changed_limits *c, enum changed_limit l)
{
	return c->given >> l & 1;
}

static uint64_t wanted(const struct changed_limits *c, enum changed_limit l)
{
	return c->none >> l & 1 ? NONE : c->value[l];
}

static int place(
	char *buf, size_t size, const struct cg_place *at, const char *path, const char *file)
{
	return snprintf(buf, size, "%s%s/%s", at->root, path, file) < (int)size
		       ? 0
		       : fault(-ENAMETOOLONG, "cgroup %s", path);
}

/* What a file says now: NONE for "max", v1's huge number and -1, and where there is no such file.
 */
static uint64_t now(
	const struct cghier *h, const char *path, enum cg_controller c, const char *file)
{
	char name[512], text[64];
	uint64_t n;

	if (!h->at[c].root[0] || place(name, sizeof(name), &h->at[c], path, file) < 0 ||
		file_read_buf(AT_FDCWD, name, text, sizeof(text)) <= 0 || text[0] < '0' ||
		text[0] > '9')
		return NONE;
	n = strtoull(text, NULL, 10);
	return n >= V1_NO_LIMIT ? NONE : n;
}

static bool there(const struct change *x, enum cg_controller c, const char *file)
{
	char name[512];

	return x->hier->at[c].root[0] &&
	       place(name, sizeof(name), &x->hier->at[c], x->path, file) == 0 &&
	       access(name, F_OK) == 0;
}

static int set(const struct change *x, enum cg_controller c, const char *file, const char *text)
{
	struct cglimit_undo *u = x->undo;
	char *was = u->files[u->len].was, *name = u->files[u->len].file;
	int r = cgfs_enter(x->hier, c, x->path);

	if (r == 0)
		r = place(name, sizeof(u->files[0].file), &x->hier->at[c], x->path, file);
	if (r == 0 && access(name, F_OK) < 0)
		return fault_plain(-EOPNOTSUPP,
			"%s: this host has no such file (its controller is not enabled for the "
			"group)",
			name);
	if (r == 0)
		r = (int)file_read_buf(AT_FDCWD, name, was, sizeof(u->files[0].was));
	if (r < 0)
		return r;
	u->len++; /* before it is changed: whoever finds this note may undo it */
	r = file_write(AT_FDCWD, name, text);
	if (r < 0)
		u->len--;
	return r;
}

static int set_number(const struct change *x, enum cg_controller c, const char *file, uint64_t n,
	const char *none)
{
	char text[32];

	snprintf(text, sizeof(text), "%" PRIu64, n);
	return set(x, c, file, n == NONE ? none : text);
}

/* Memory --------------------------------------------------------------------------------------- */

static bool memory_v2(const struct cghier *h)
{
	return h->at[CG_MEMORY].v2;
}

/* The kernel would take a lower limit and answer it with OOM kills (v2), or refuse it (v1). */
static int fits(const struct change *x, uint64_t limit)
{
	struct cgstat_dirs d;
	struct cgstat s;
	uint64_t held;

	cgstat_open(&d, x->hier, x->path);
	cgstat_read(&d, &s);
	cgstat_close(&d);
	held = s.value[CGSTAT_MEM_CURRENT] > s.value[CGSTAT_MEM_FILE]
		       ? s.value[CGSTAT_MEM_CURRENT] - s.value[CGSTAT_MEM_FILE]
		       : s.value[CGSTAT_MEM_ANON];
	if (limit >= held)
		return 0;
	return fault_plain(-EINVAL,
		"memory \"%" PRIu64 "\": less than the %" PRIu64
		" bytes in use that can't be given back (use more, or restart it with less)",
		limit, held);
}

static uint64_t swap_beside(const struct cghier *h, const char *path)
{
	uint64_t sum, limit;

	if (memory_v2(h))
		return now(h, path, CG_MEMORY, "memory.swap.max");
	sum = now(h, path, CG_MEMORY, "memory.memsw.limit_in_bytes");
	limit = now(h, path, CG_MEMORY, "memory.limit_in_bytes");
	if (sum == NONE || limit == NONE)
		return limit == NONE ? NONE : 0; /* a limit of ours comes without swap */
	return sum > limit ? sum - limit : 0;
}

static void put(struct changed_limits *c, enum changed_limit l, uint64_t value)
{
	uint32_t bit = 1u << l;

	c->given |= bit;
	c->none = value == NONE ? c->none | bit : c->none & ~bit;
	c->value[l] = value == NONE ? 0 : value;
}

int cglimit_complete(const struct cghier *h, const char *path, struct changed_limits *c)
{
	uint64_t memory = given(c, CHANGED_MEMORY) ? wanted(c, CHANGED_MEMORY)
			  : memory_v2(h)	   ? now(h, path, CG_MEMORY, "memory.max")
					 : now(h, path, CG_MEMORY, "memory.limit_in_bytes");
	uint64_t swap = wanted(c, CHANGED_MEMORY_SWAP), beside;

	if (given(c, CHANGED_MEMORY) && !given(c, CHANGED_MEMORY_SWAP)) {
		beside = memory == NONE ? NONE : swap_beside(h, path);
		/* without a limit so far: a new one comes as `run` gives it, without swap */
		swap = memory == NONE ? NONE : beside == NONE ? memory : memory + beside;
		put(c, CHANGED_MEMORY_SWAP, swap);
	}
	if (given(c, CHANGED_MEMORY_SWAP) && swap != NONE && memory == NONE)
		return fault_plain(-EINVAL,
			"memory-swap \"%" PRIu64
			"\": counts memory and swap together, and there is "
			"no memory limit (give one)",
			swap);
	if (given(c, CHANGED_MEMORY_SWAP) && swap != NONE && swap < memory)
		return fault_plain(-EINVAL,
			"memory-swap \"%" PRIu64 "\": less than the memory limit, %" PRIu64
			" (it is memory and swap together)",
			swap, memory);
	return 0;
}

static int swap_v2(const struct change *x)
{
	uint64_t sum = wanted(x->c, CHANGED_MEMORY_SWAP);
	uint64_t memory = given(x->c, CHANGED_MEMORY)
				  ? wanted(x->c, CHANGED_MEMORY)
				  : now(x->hier, x->path, CG_MEMORY, "memory.max");

	return set_number(
		x, CG_MEMORY, "memory.swap.max", sum == NONE ? NONE : sum - memory, "max");
}

/* v1 wants limit <= sum at every moment: raised from above, lowered from below. */
static int memory_v1(const struct change *x, bool swap)
{
	uint64_t sum = wanted(x->c, CHANGED_MEMORY_SWAP);
	bool raised =
		swap && sum >= now(x->hier, x->path, CG_MEMORY, "memory.memsw.limit_in_bytes");
	int r = 0;

	if (swap && raised)
		r = set_number(x, CG_MEMORY, "memory.memsw.limit_in_bytes", sum, "-1");
	if (r == 0 && given(x->c, CHANGED_MEMORY))
		r = set_number(
			x, CG_MEMORY, "memory.limit_in_bytes", wanted(x->c, CHANGED_MEMORY), "-1");
	if (r == 0 && swap && !raised)
		r = set_number(x, CG_MEMORY, "memory.memsw.limit_in_bytes", sum, "-1");
	return r;
}

static int memory(const struct change *x)
{
	bool v2 = memory_v2(x->hier);
	bool swap = given(x->c, CHANGED_MEMORY_SWAP) &&
		    (x->asked >> CHANGED_MEMORY_SWAP & 1 ||
			    there(x, CG_MEMORY,
				    v2 ? "memory.swap.max" : "memory.memsw.limit_in_bytes"));
	int r = 0;

	if (given(x->c, CHANGED_MEMORY) && wanted(x->c, CHANGED_MEMORY) != NONE)
		r = fits(x, wanted(x->c, CHANGED_MEMORY));
	if (r < 0 || !v2)
		return r < 0 ? r : memory_v1(x, swap);
	if (given(x->c, CHANGED_MEMORY))
		r = set_number(x, CG_MEMORY, "memory.max", wanted(x->c, CHANGED_MEMORY), "max");
	return r == 0 && swap ? swap_v2(x) : r;
}

static int memory_high(const struct change *x)
{
	if (!memory_v2(x->hier))
		return fault_plain(-EOPNOTSUPP,
			"memory-high: needs the memory controller on cgroup v2, this host has it on "
			"v1 (leave it out)");
	return set_number(x, CG_MEMORY, "memory.high", wanted(x->c, CHANGED_MEMORY_HIGH), "max");
}

/* The rest ------------------------------------------------------------------------------------- */

static int cpus(const struct change *x)
{
	uint64_t n = wanted(x->c, CHANGED_CPUS);
	char text[64];
	int r;

	if (x->hier->at[CG_CPU].v2) {
		snprintf(text, sizeof(text), "%" PRIu64 " %u", n * CPU_PERIOD / 1000, CPU_PERIOD);
		return set(x, CG_CPU, "cpu.max", n == NONE ? "max" : text);
	}
	r = set_number(x, CG_CPU, "cpu.cfs_period_us", CPU_PERIOD, "");
	return r < 0 ? r
		     : set_number(x, CG_CPU, "cpu.cfs_quota_us",
			       n == NONE ? NONE : n * CPU_PERIOD / 1000, "-1");
}

static int cpu_weight(const struct change *x)
{
	uint64_t w = wanted(x->c, CHANGED_CPU_WEIGHT), shares;
	int r;

	if (w == NONE)
		w = WEIGHT_DEFAULT;
	if (now(x->hier, x->path, CG_CPU, "cpu.idle") == 1 &&
		(r = set_number(x, CG_CPU, "cpu.idle", 0, "")) < 0)
		return r; /* an idle group takes no weight */
	if (x->hier->at[CG_CPU].v2)
		return set_number(x, CG_CPU, "cpu.weight", w, "");
	shares = w * SHARES_DEFAULT / WEIGHT_DEFAULT;
	return set_number(x, CG_CPU, "cpu.shares", shares < SHARES_MIN ? SHARES_MIN : shares, "");
}

static int pids(const struct change *x)
{
	return set_number(x, CG_PIDS, "pids.max", wanted(x->c, CHANGED_PIDS), "max");
}

static int cpuset(const struct change *x)
{
	int r = set(x, CG_CPUSET, "cpuset.cpus", x->c->cpuset_cpus);

	if (r == -EINVAL || r == -ERANGE || r == -EACCES)
		return fault_plain(-EINVAL,
			"cpuset-cpus \"%s\": this host, or the group above, has not all of them",
			x->c->cpuset_cpus);
	return r;
}

void cglimit_undo(struct cglimit_undo *u)
{
	while (u->len > 0) {
		unsigned i = u->len - 1;

		file_write(AT_FDCWD, u->files[i].file, u->files[i].was);
		u->len = i; /* after it was undone: twice does no harm */
	}
}

int cglimit_apply(const struct cghier *h, const char *path, const struct changed_limits *c,
	uint32_t asked, struct cglimit_undo *undo)
{
	const struct change x = {.hier = h, .path = path, .c = c, .asked = asked, .undo = undo};
	int r = 0;

	undo->len = 0;
	/* what can fail for the value comes first: the less is there to be undone */
	if (given(c, CHANGED_MEMORY_HIGH))
		r = memory_high(&x);
	if (r == 0 && c->cpuset_cpus[0])
		r = cpuset(&x);
	if (r == 0 && (given(c, CHANGED_MEMORY) || given(c, CHANGED_MEMORY_SWAP)))
		r = memory(&x);
	if (r == 0 && given(c, CHANGED_CPUS))
		r = cpus(&x);
	if (r == 0 && given(c, CHANGED_CPU_WEIGHT))
		r = cpu_weight(&x);
	if (r == 0 && given(c, CHANGED_PIDS))
		r = pids(&x);
	if (r < 0)
		cglimit_undo(undo);
	return r;
}
