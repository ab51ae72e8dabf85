/* COUNT numbered lines of 80 bytes (the newline counts), written in blocks as stdio would. The
 * number makes every lost, doubled or torn line visible. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE  80
#define BLOCK 51 /* lines in a write: 4080 bytes, what fits a page and stdio's buffer */

static void line(char *at, unsigned long n)
{
	memset(at, '.', LINE - 1);
	at[LINE - 1] = '\n';
	for (int i = 11; i >= 0; i--, n /= 10)
		at[i] = (char)('0' + n % 10);
}

static int put(const char *buf, size_t len)
{
	while (len > 0) {
		ssize_t n = write(STDOUT_FILENO, buf, len);

		if (n <= 0)
			return 1;
		buf += n;
		len -= (size_t)n;
	}
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 10) : 0, n = 0;
	static char block[BLOCK * LINE];

	while (n < count) {
		size_t k = 0;

		for (; k < BLOCK && n < count; k++, n++)
			line(block + k * LINE, n);
		if (put(block, k * LINE) != 0)
			return 1;
	}
	return 0;
}
