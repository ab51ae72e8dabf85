#include "monitor/counters.h"

#include <string.h>

#define NSEC_PER_USEC 1000

struct text {
	const char *at, *end;
};

static struct text raw(const struct exit_record *r, enum exit_raw which)
{
	size_t len = r->raw_len[which] < RAW_BYTES ? r->raw_len[which] : RAW_BYTES;

	return (struct text){.at = r->raw[which], .end = r->raw[which] + len};
}

/* A decimal number that something follows: at the very end it may have been cut off. */
static bool number(const char *p, const char *end, uint64_t *ret)
{
	const char *from = p;
	uint64_t v = 0;

	for (; p < end && *p >= '0' && *p <= '9'; p++)
		v = v * 10 + (uint64_t)(*p - '0');
	if (p == from || p == end)
		return false;
	*ret = v;
	return true;
}

/* The number behind `mark` in what follows `key` at the beginning of a line. */
static bool find(struct text t, const char *key, const char *mark, uint64_t *ret)
{
	size_t n = strlen(key), m = strlen(mark);

	while (t.at < t.end) {
		const char *eol = memchr(t.at, '\n', (size_t)(t.end - t.at));
		const char *stop = eol ? eol + 1 : t.end;

		if ((size_t)(stop - t.at) > n && memcmp(t.at, key, n) == 0) {
			const char *p = memmem(t.at + n, (size_t)(stop - t.at) - n, mark, m);

			return p && number(p + m, stop, ret);
		}
		t.at = stop;
	}
	return false;
}

void counters_parse(struct counters *ret, const struct exit_record *r)
{
	struct text memory = raw(r, RAW_MEM), cpu = raw(r, RAW_CPU), psi = raw(r, RAW_PRESSURE);
	uint64_t nsec;

	memset(ret, 0, sizeof(*ret));
	/* memory.events of v2; v1's memory.oom_control has the kills alone */
	if (find(memory, "high ", "", &ret->memory_high) &&
		find(memory, "max ", "", &ret->memory_max) &&
		find(memory, "oom ", "", &ret->memory_oom))
		ret->has |= POST_MORTEM_EVENTS;
	if (find(memory, "oom_kill ", "", &ret->memory_oom_kill))
		ret->has |= POST_MORTEM_OOM_KILL;
	if (find(psi, "some ", "total=", &ret->memory_some_usec) &&
		find(psi, "full ", "total=", &ret->memory_full_usec))
		ret->has |= POST_MORTEM_PRESSURE;
	if (find(cpu, "throttled_usec ", "", &ret->throttled_usec)) {
		ret->has |= POST_MORTEM_THROTTLED;
	} else if (find(cpu, "throttled_time ", "", &nsec)) { /* v1 */
		ret->throttled_usec = nsec / NSEC_PER_USEC;
		ret->has |= POST_MORTEM_THROTTLED;
	}
}

static uint64_t grown(uint64_t end, uint64_t before)
{
	return end > before ? end - before : 0;
}

struct counters counters_grown(const struct counters *end, const struct counters *before)
{
	return (struct counters){
		.has = end->has & before->has,
		.memory_high = grown(end->memory_high, before->memory_high),
		.memory_max = grown(end->memory_max, before->memory_max),
		.memory_oom = grown(end->memory_oom, before->memory_oom),
		.memory_oom_kill = grown(end->memory_oom_kill, before->memory_oom_kill),
		.memory_some_usec = grown(end->memory_some_usec, before->memory_some_usec),
		.memory_full_usec = grown(end->memory_full_usec, before->memory_full_usec),
		.throttled_usec = grown(end->throttled_usec, before->throttled_usec),
	};
}
