#include "ipc/record.h"

#include <string.h>
#ifdef __x86_64__
#include <sys/platform/x86.h>
#endif

static const char *const names[] = {
	[RECORD_CREATED] = "created",
	[RECORD_LAUNCH_INTENT] = "launch-intent",
	[RECORD_LAUNCHED] = "launched",
	[RECORD_LAUNCH_FAILED] = "launch-failed",
	[RECORD_STARTED] = "started",
	[RECORD_EXITED] = "exited",
	[RECORD_OOM] = "oom",
	[RECORD_EXIT_GAP] = "exit-gap",
	[RECORD_STOP_INTENT] = "stop-intent",
	[RECORD_SHIM] = "shim",
	[RECORD_KEEPER] = "keeper",
	[RECORD_OUTPUT_GAP] = "output-gap",
	[RECORD_WARNING] = "warning",
	[RECORD_DOWN] = "down",
	[RECORD_WAITING] = "waiting",
	[RECORD_SNAPSHOT] = "snapshot",
	[RECORD_OPENED] = "opened",
	[RECORD_READY] = "ready",
	[RECORD_GAP] = "gap",
	[RECORD_PAUSED] = "paused",
	[RECORD_RESUMED] = "resumed",
	[RECORD_UPDATED] = "updated",
	[RECORD_EXEC_STARTED] = "exec-started",
	[RECORD_HEALTH] = "health",
	[RECORD_UNHEALTHY] = "unhealthy",
	[RECORD_EXEC_EXITED] = "exec-exited",
	[RECORD_RULE_FIRED] = "rule-fired",
	[RECORD_RULE_ACTION] = "rule-action",
	[RECORD_RULE_DONE] = "rule-done",
	[RECORD_RULE_CLEARED] = "rule-cleared",
};

/* CRC-32C. Bit by bit where the processor has no instruction for it: a table would cost the shim a
 * page. */
static uint32_t crc32c_bits(uint32_t crc, const unsigned char *p, size_t n)
{
	while (n--) {
		crc ^= *p++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (0x82f63b78u & -(crc & 1));
	}
	return crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t crc32c_words(
	uint32_t crc, const unsigned char *p, size_t n)
{
	uint64_t word;

	for (; n >= sizeof(word); p += sizeof(word), n -= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		crc = (uint32_t)__builtin_ia32_crc32di(crc, word);
	}
	return crc32c_bits(crc, p, n);
}
#endif

static uint32_t crc32c(const unsigned char *p, size_t n)
{
#ifdef __x86_64__
	/* libc has asked already; the compiler's own way asks again at each start, with 5 kB */
	if (CPU_FEATURE_ACTIVE(SSE4_2))
		return ~crc32c_words(~0u, p, n);
#endif
	return ~crc32c_bits(~0u, p, n);
}

/* Everything but len, type, flags and the sum itself; those are checked by their own rules. */
#define SUM_FROM offsetof(struct record, seq)

static uint32_t record_sum(const struct record *r)
{
	uint32_t head = (uint32_t)r->len << 16 | (uint32_t)r->type << 8 | r->flags;

	return crc32c((const unsigned char *)r + SUM_FROM, r->len - SUM_FROM) ^ head * 2654435761u;
}

size_t record_encode(void *buf, struct record head, const void *body, size_t body_len)
{
	size_t len = (sizeof(head) + body_len + 7) & ~(size_t)7;
	struct record *r = buf;

	if (body_len > RECORD_BODY_MAX)
		return 0;
	memset(buf, 0, len);
	head.len = (uint16_t)len;
	head.body_len = (uint32_t)body_len;
	*r = head;
	if (body_len)
		memcpy(r + 1, body, body_len);
	r->sum = record_sum(r);
	return len;
}

size_t record_check(const void *p, size_t n, uint64_t seq)
{
	const struct record *r = p;

	if (n < sizeof(*r) || r->len < sizeof(*r) || r->len % 8 || r->len > n)
		return 0;
	if (r->body_len > r->len - sizeof(*r) || r->body_len > RECORD_BODY_MAX)
		return 0;
	if (r->sum != record_sum(r) || (seq && r->seq != seq))
		return 0;
	return r->len;
}

const char *record_name(uint8_t type)
{
	return type < sizeof(names) / sizeof(names[0]) && names[type] ? names[type] : "unknown";
}
