#include "ipc/base/parse.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/mem.h"

struct unit {
	const char *name;
	uint64_t factor;
};

/* digits[.digits] as integer part and millionths; returns what follows, or NULL. */
static const char *decimal(const char *s, uint64_t *whole, uint64_t *micro)
{
	uint64_t scale = 100000;

	if (*s < '0' || *s > '9')
		return NULL;
	for (*whole = 0; *s >= '0' && *s <= '9'; s++)
		if (__builtin_mul_overflow(*whole, 10, whole) ||
			__builtin_add_overflow(*whole, (uint64_t)(*s - '0'), whole))
			return NULL;
	*micro = 0;
	if (*s != '.')
		return s;
	if (s[1] < '0' || s[1] > '9')
		return NULL;
	for (s++; *s >= '0' && *s <= '9'; s++, scale /= 10)
		*micro += scale * (uint64_t)(*s - '0');
	return s;
}

static int scaled(const char *text, const struct unit *units, size_t n, uint64_t *ret)
{
	uint64_t whole, micro, part;
	const char *rest = decimal(text, &whole, &micro);

	if (!rest)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		if (strcasecmp(rest, units[i].name) != 0)
			continue;
		/* micro < 10^6 and every factor < 2^44: no overflow in the product */
		part = micro * units[i].factor / 1000000;
		if (__builtin_mul_overflow(whole, units[i].factor, ret) ||
			__builtin_add_overflow(*ret, part, ret))
			return -EINVAL;
		return 0;
	}
	return -EINVAL;
}

int parse_u64(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
	uint64_t whole, micro;
	const char *rest = decimal(text, &whole, &micro);

	if (!rest || *rest || strchr(text, '.') || whole < min || whole > max)
		return fault_plain(-EINVAL, "%s \"%s\": not a number from %" PRIu64 " to %" PRIu64,
			name, text, min, max);
	*ret = whole;
	return 0;
}

int parse_size(const char *name, const char *text, uint64_t *ret)
{
	static const struct unit units[] = {
		{"", 1},
		{"b", 1},
		{"k", 1ULL << 10},
		{"kb", 1ULL << 10},
		{"kib", 1ULL << 10},
		{"m", 1ULL << 20},
		{"mb", 1ULL << 20},
		{"mib", 1ULL << 20},
		{"g", 1ULL << 30},
		{"gb", 1ULL << 30},
		{"gib", 1ULL << 30},
		{"t", 1ULL << 40},
		{"tb", 1ULL << 40},
		{"tib", 1ULL << 40},
	};

	if (scaled(text, units, array_size(units), ret) < 0 || *ret > INT64_MAX)
		return fault_plain(-EINVAL,
			"%s \"%s\": not a size (use bytes, or a number with k, m, g or t: 512M, 2G)",
			name, text);
	return 0;
}

int parse_duration(const char *name, const char *text, uint64_t *ret)
{
	static const struct unit units[] = {
		{"us", 1},
		{"usec", 1},
		{"ms", USEC_PER_MSEC},
		{"msec", USEC_PER_MSEC},
		{"", USEC_PER_SEC},
		{"s", USEC_PER_SEC},
		{"sec", USEC_PER_SEC},
		{"m", 60 * USEC_PER_SEC},
		{"min", 60 * USEC_PER_SEC},
		{"h", 3600 * USEC_PER_SEC},
		{"d", 24 * 3600 * USEC_PER_SEC},
	};
	const uint64_t year = 366ULL * 24 * 3600 * USEC_PER_SEC;

	if (scaled(text, units, array_size(units), ret) < 0 || *ret > year)
		return fault_plain(-EINVAL,
			"%s \"%s\": not a time (use 250ms, 10s, 2m, 1h; a bare number is seconds; a year at most)",
			name, text);
	return 0;
}

int parse_cpus(const char *name, const char *text, uint64_t *ret)
{
	static const struct unit units[] = {{"", 1000}};

	/* the kernel's smallest quota is 1 ms of a 100 ms period: a hundredth of a CPU */
	if (scaled(text, units, array_size(units), ret) < 0 || *ret < 10 || *ret > 1000000)
		return fault_plain(-EINVAL,
			"%s \"%s\": not a number of CPUs (use 0.01 to 1000, for example 0.5 or 2)",
			name, text);
	return 0;
}
