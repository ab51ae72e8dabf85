#include "cli/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "ipc/base/clock.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"
#include "ipc/base/mem.h"

/* Bytes above 0x7e are escaped too: 0x80-0x9f are control codes to an 8-bit terminal. */
size_t text_escape(char *dst, size_t size, const char *src, size_t len)
{
	size_t at = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)src[i];
		char unit[8];
		int n;

		if (c >= 0x20 && c < 0x7f && c != '\\')
			n = snprintf(unit, sizeof(unit), "%c", c);
		else if (c == '\n' || c == '\t' || c == '\\')
			n = snprintf(unit, sizeof(unit), "\\%c",
				c == '\n'   ? 'n'
				: c == '\t' ? 't'
					    : c);
		else
			n = snprintf(unit, sizeof(unit), "\\x%02x", c);
		if (at + (size_t)n >= size)
			break;
		memcpy(dst + at, unit, (size_t)n);
		at += (size_t)n;
	}
	if (size)
		dst[at] = '\0';
	return at;
}

void text_age(char *dst, size_t size, uint64_t usec)
{
	static const struct {
		uint64_t seconds;
		const char *name;
	} units[] = {{86400, " d"}, {3600, " h"}, {60, " min"}, {1, "s"}};
	uint64_t seconds = usec / USEC_PER_SEC;

	for (size_t i = 0; i < array_size(units); i++) {
		if (seconds < units[i].seconds && units[i].seconds > 1)
			continue;
		snprintf(dst, size, "%" PRIu64 "%s", seconds / units[i].seconds, units[i].name);
		return;
	}
}

void text_table(const char *const *cells, size_t rows, size_t columns)
{
	size_t width[16] = {0};

	for (size_t i = 0; i < rows * columns; i++)
		if (strlen(cells[i]) > width[i % columns % array_size(width)])
			width[i % columns % array_size(width)] = strlen(cells[i]);
	for (size_t i = 0; i < rows * columns; i++) {
		if (i % columns == columns - 1)
			printf("%s\n", cells[i]);
		else
			printf("%-*s  ", (int)width[i % columns % array_size(width)], cells[i]);
	}
}

/* One write, so that lines of several commands do not mix; whatever a fault text quotes is escaped,
 * its own backslashes and line ends stay as they are. */
void complain(const char *fmt, ...)
{
	char raw[1536], line[2 * sizeof(raw)];
	size_t at = (size_t)snprintf(line, sizeof(line), "holdfast: ");
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	for (const char *p = raw; *p && at + 8 < sizeof(line); p++) {
		unsigned char c = (unsigned char)*p;

		if ((c >= 0x20 && c < 0x7f) || c == '\n')
			line[at++] = (char)c;
		else
			at += (size_t)snprintf(line + at, 5, "\\x%02x", c);
	}
	line[at++] = '\n';
	write_all(STDERR_FILENO, line, at); /* nobody to tell when stderr is gone */
}
