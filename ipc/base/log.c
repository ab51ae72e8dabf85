#include "ipc/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A daemon's stderr is a file of its state directory: what a loop gone wild could write is bounded.
 */
#define LOG_BYTES_MAX (256u << 10)

static const char *const names[] = {"error", "warning", "info", "debug"};
static const char *self = "holdfast";
static const char *about;
static enum log_level limit = LOG_INFO;
static size_t written;

void log_init(const char *name, const char *id)
{
	const char *want = getenv("HOLDFAST_LOG");

	self = name;
	about = id;
	for (unsigned i = 0; want && i < 4; i++)
		if (strncmp(want, names[i], 4) == 0)
			limit = (enum log_level)i;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char line[1024];
	int saved = errno;
	va_list ap;
	int n, m;

	if (level > limit || written > LOG_BYTES_MAX)
		return;
	n = snprintf(line, sizeof(line), "%s%s%s%s: %s: ", self, about ? "[" : "",
		about ? about : "", about ? "]" : "", names[level]);
	va_start(ap, fmt);
	m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	n = m < 0 ? n : n + m;
	if ((size_t)n > sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n++] = '\n';
	written += (size_t)n;
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		written = LOG_BYTES_MAX + 1; /* nobody reads: stop trying */
	errno = saved;
}
