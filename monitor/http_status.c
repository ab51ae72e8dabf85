#include "monitor/http_status.h"

#include <string.h>

#define START "HTTP/1."

static int digit(char c)
{
	return c >= '0' && c <= '9';
}

int http_status(const char *p, size_t len)
{
	const size_t n = sizeof(START) - 1;

	if (memcmp(p, START, len < n ? len : n) != 0)
		return -1;
	if (len > n && !digit(p[n]))
		return -1;
	if (len > n + 1 && p[n + 1] != ' ')
		return -1;
	if (len > n + 2 && p[n + 2] == '0')
		return -1;
	for (size_t i = n + 2; i < len && i < n + 5; i++)
		if (!digit(p[i]))
			return -1;
	if (len < n + 6)
		return 0;
	if (p[n + 5] != ' ' && p[n + 5] != '\r' && p[n + 5] != '\n')
		return -1;
	return (p[n + 2] - '0') * 100 + (p[n + 3] - '0') * 10 + (p[n + 4] - '0');
}
