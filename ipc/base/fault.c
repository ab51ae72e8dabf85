#include "ipc/base/fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char text[768];

__attribute__((format(printf, 1, 0))) static size_t put(const char *fmt, va_list ap)
{
	int n = vsnprintf(text, sizeof(text), fmt, ap);

	return n < 0 ? 0 : (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1;
}

int fault(int err, const char *fmt, ...)
{
	va_list ap;
	size_t n;

	va_start(ap, fmt);
	n = put(fmt, ap);
	va_end(ap);
	snprintf(text + n, sizeof(text) - n, ": %s", strerror(-err));
	return err;
}

int fault_plain(int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	put(fmt, ap);
	va_end(ap);
	return err;
}

const char *fault_text(void)
{
	return text;
}
