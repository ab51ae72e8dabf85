#include "cli/inspect_line.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/text.h"
#include "ipc/base/mem.h"

#define LINE 4096

void inspect_raw(const char *key, const char *bytes, size_t len)
{
	char shown[4 * LINE + 1];

	text_escape(shown, sizeof(shown), bytes, len);
	printf("  %-13s %s\n", key, shown);
}

void inspect_line(const char *key, const char *fmt, ...)
{
	char line[LINE];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	inspect_raw(key, line, strlen(line));
}

void inspect_bytes(char *ret, size_t size, uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double v = (double)bytes;
	size_t unit = 0;

	while (v >= 1024 && unit + 1 < array_size(units)) {
		v /= 1024;
		unit++;
	}
	snprintf(ret, size, unit ? "%.1f %s" : "%.0f %s", v, units[unit]);
}
