/* lines [--stay] BLOCK COUNT: numbered lines of 80 bytes (the newline counts), BLOCK of them a
 * write (51 as stdio would); --stay: then waits for a signal. lines --check COUNT: reads them back
 * from stdin, fails at the first that is lost, doubled, torn or out of order; --check-k8s: in
 * conmon's format, with partial lines put together. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE  80
#define BLOCK 51 /* at most: 4080 bytes, what fits a page and stdio's buffer */

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

static int write_lines(unsigned long each, unsigned long count)
{
	static char block[BLOCK * LINE];
	unsigned long n = 0;

	while (n < count) {
		size_t k = 0;

		for (; k < each && k < BLOCK && n < count; k++, n++)
			line(block + k * LINE, n);
		if (put(block, k * LINE) != 0)
			return 1;
	}
	return 0;
}

static bool is_line(const char *got, size_t len, unsigned long n)
{
	char want[LINE];

	line(want, n);
	return len == LINE && memcmp(got, want, LINE) == 0;
}

/* "TIME STREAM P|F TEXT\n": the text, and whether it is the whole rest of a line (F). */
static const char *k8s_text(const char *got, bool *whole)
{
	const char *p = strchr(got, ' ');

	p = p ? strchr(p + 1, ' ') : NULL;
	if (!p || (p[1] != 'P' && p[1] != 'F') || p[2] != ' ')
		return NULL;
	*whole = p[1] == 'F';
	return p + 3;
}

static int check(unsigned long count, bool k8s)
{
	char got[512], joined[2 * LINE + 2] = "";
	unsigned long n = 0;

	while (fgets(got, sizeof(got), stdin)) {
		bool whole = true;
		const char *text = k8s ? k8s_text(got, &whole) : got;
		size_t len = strlen(joined), more = text ? strlen(text) : 0;

		if (more == 0 || len + more >= sizeof(joined))
			break;
		memcpy(joined + len, text, more + 1);
		if (!whole) { /* its newline is not the line's */
			joined[len + more - 1] = '\0';
			continue;
		}
		if (!is_line(joined, len + more, n))
			break;
		joined[0] = '\0';
		n++;
	}
	if (n != count || !feof(stdin))
		fprintf(stderr, "%lu good lines of %lu, then: %s\n", n, count, joined);
	return n != count || !feof(stdin);
}

int main(int argc, char **argv)
{
	const char *how = argc > 2 ? argv[1] : "";
	unsigned long count = argc > 1 ? strtoul(argv[argc - 1], NULL, 10) : 0;
	int r;

	if (strncmp(how, "--check", 7) == 0)
		return check(count, strcmp(how, "--check-k8s") == 0);
	r = write_lines(argc > 2 ? strtoul(argv[argc - 2], NULL, 10) : BLOCK, count);
	while (strcmp(how, "--stay") == 0)
		pause();
	return r;
}
