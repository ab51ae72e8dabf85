#include "init/counter.h"

#include <string.h>
#include <unistd.h>

#include "init/pid1.h"

static size_t read_raw(const struct pid1 *p, enum plan_fd fd, char buf[RAW_BYTES])
{
	ssize_t n = pid1_has(p, fd) ? pread((int)fd, buf, RAW_BYTES, 0) : 0;

	return n > 0 ? (size_t)n : 0;
}

void counters_warm(const struct pid1 *p)
{
	char buf[RAW_BYTES];

	for (unsigned i = 0; i < RAW_COUNT; i++)
		read_raw(p, PLAN_FD_MEM + i, buf);
}

void counters_read(const struct pid1 *p, struct exit_record *r)
{
	for (unsigned i = 0; i < RAW_COUNT; i++)
		r->raw_len[i] = (uint16_t)read_raw(p, PLAN_FD_MEM + i, r->raw[i]);
}

uint64_t counter_value(const char *text, size_t len, const char *key)
{
	const char *end = text + len;

	/* At the start of a line only: there are oom_kill_disable and oom_group_kill as well. */
	while (text < end) {
		const char *eol = memchr(text, '\n', (size_t)(end - text));
		uint64_t v = 0;

		if (!eol)
			break; /* cut off: the number may be as well */
		if (eol - text > (ptrdiff_t)strlen(key) && !memcmp(text, key, strlen(key))) {
			for (text += strlen(key); text < eol && *text >= '0' && *text <= '9';
				text++)
				v = v * 10 + (uint64_t)(*text - '0');
			return v;
		}
		text = eol + 1;
	}
	return 0;
}

size_t counter_memory(const struct pid1 *p, char ret[RAW_BYTES])
{
	return read_raw(p, PLAN_FD_MEM, ret);
}
