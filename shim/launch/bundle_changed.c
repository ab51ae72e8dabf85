/* What `update` has changed since the container was created wins over config.json. */
#include <inttypes.h>
#include <stdio.h>

#include "ipc/base/mem.h"
#include "shim/launch/bundle.h"

#define CPU_PERIOD 100000u /* usec */

static bool given(const struct bundle *b, enum changed_limit l)
{
	return b->set->changed.given >> l & 1;
}

static uint64_t wanted(const struct bundle *b, enum changed_limit l)
{
	return b->set->changed.none >> l & 1 ? LIMIT_UNGIVEN : b->set->changed.value[l];
}

void bundle_changed_files(struct bundle *b)
{
	uint64_t high = wanted(b, CHANGED_MEMORY_HIGH);
	char text[32] = "max";

	if (!given(b, CHANGED_MEMORY_HIGH))
		return;
	if (high < LIMIT_UNGIVEN)
		snprintf(text, sizeof(text), "%" PRIu64, high);
	blob_more(&b->blob, &b->head.limits.unified, "memory.high");
	blob_more(&b->blob, &b->head.limits.unified, text);
}

/* As much swap beside it as before. */
static void memory(uint64_t *v, uint64_t limit)
{
	uint64_t sum = v[LIMIT_MEM_SWAP], was = v[LIMIT_MEM];

	v[LIMIT_MEM] = limit;
	if (sum >= LIMIT_UNGIVEN)
		return;
	v[LIMIT_MEM_SWAP] = limit >= LIMIT_UNGIVEN ? LIMIT_UNGIVEN
			    : was < sum		   ? limit + (sum - was)
						   : limit;
}

void bundle_changed(struct bundle *b)
{
	uint64_t *v = b->head.limits.value, cpus = wanted(b, CHANGED_CPUS);

	if (given(b, CHANGED_MEMORY))
		memory(v, wanted(b, CHANGED_MEMORY));
	if (given(b, CHANGED_MEMORY_SWAP))
		v[LIMIT_MEM_SWAP] = wanted(b, CHANGED_MEMORY_SWAP);
	/* changed one by one, while nothing ran that could have refused it */
	if (v[LIMIT_MEM] < LIMIT_UNGIVEN && v[LIMIT_MEM_SWAP] < v[LIMIT_MEM])
		v[LIMIT_MEM_SWAP] = v[LIMIT_MEM];
	if (given(b, CHANGED_CPUS)) {
		v[LIMIT_CPU_QUOTA] =
			cpus < LIMIT_UNGIVEN ? cpus * CPU_PERIOD / 1000 : LIMIT_UNGIVEN;
		v[LIMIT_CPU_PERIOD] = cpus < LIMIT_UNGIVEN ? CPU_PERIOD : LIMIT_UNGIVEN;
	}
	if (given(b, CHANGED_CPU_WEIGHT)) { /* none: what everybody has */
		v[LIMIT_CPU_WEIGHT] = wanted(b, CHANGED_CPU_WEIGHT);
		v[LIMIT_CPU_SHARES] = LIMIT_UNGIVEN;
	}
	if (given(b, CHANGED_PIDS))
		v[LIMIT_PIDS] = wanted(b, CHANGED_PIDS);
	if (b->set->changed.cpuset_cpus[0])
		b->head.limits.cpuset_cpus = blob_string(&b->blob, b->set->changed.cpuset_cpus);
}
