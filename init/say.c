#include "init/say.h"

#include <stdint.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static struct iovec text(const char *s)
{
	return (struct iovec){(void *)(uintptr_t)s, strlen(s)};
}

static const char *decimal(char buf[12], unsigned v)
{
	char *p = buf + 11;

	*p = '\0';
	do
		*--p = (char)('0' + v % 10);
	while (v /= 10);
	return p;
}

void say(const char *what, const char *name, int err)
{
	struct iovec v[8];
	char number[12];
	int n = 0;

	v[n++] = text("holdfast-init: ");
	v[n++] = text(what);
	if (name) {
		v[n++] = text(": ");
		v[n++] = text(name);
	}
	if (err) {
		v[n++] = text(" (errno ");
		v[n++] = text(decimal(number, (unsigned)(err < 0 ? -err : err)));
		v[n++] = text(")");
	}
	v[n++] = text("\n");
	if (writev(2, v, n) < 0)
		return; /* stderr is gone: there is nobody to tell */
}
