#include "cli/envfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/spec.h"
#include "ipc/base/fault.h"
#include "ipc/base/file.h"
#include "ipc/base/mem.h"

#define FILE_MAX (1u << 20)
#define BLANK	 " \t\v\f"

int env_pair(const char *text, char **ret)
{
	const char *own = strchr(text, '=') ? "" : getenv(text);

	*ret = NULL;
	if (!own) /* as engines do: a variable that is not set here stays unset */
		return 0;
	if (asprintf(ret, "%s%s%s", text, strchr(text, '=') ? "" : "=", own) < 0) {
		*ret = NULL;
		return fault(-ENOMEM, "environment");
	}
	return 0;
}

static int bad(const char *name, size_t at, const char *line, const char *what)
{
	return fault_plain(
		-EINVAL, "--env-file \"%.200s:%zu\": \"%.100s\": %s", name, at, line, what);
}

static int one_line(const char *name, size_t at, const char *line, struct spec_list *list)
{
	size_t len = strcspn(line, "=");
	char *pair;
	int r;

	if (len == 0)
		return bad(name, at, line, "has no name (write NAME=VALUE)");
	if (strcspn(line, BLANK) < len)
		return bad(name, at, line, "a name has no blanks in it (write NAME=VALUE)");
	r = env_pair(line, &pair);
	if (r < 0 || !pair)
		return r;
	r = spec_list_add(list, &pair, sizeof(pair));
	if (r < 0)
		free(pair);
	return r;
}

int envfile_parse(const char *name, char *data, size_t len, struct spec_list *list)
{
	char *rest = data, *line;
	size_t at = 0;
	int r = 0;

	if (strlen(data) != len)
		return fault_plain(-EINVAL,
			"--env-file \"%.200s\": has a NUL byte in it (give a text file)", name);
	if (strncmp(data, "\xef\xbb\xbf", 3) == 0) /* the mark that some editors put in front */
		rest += 3;
	while (r == 0 && (line = strsep(&rest, "\n"))) {
		size_t n = strlen(line);

		at++;
		if (n > 0 && line[n - 1] == '\r')
			line[n - 1] = '\0';
		line += strspn(line, BLANK);
		if (*line && *line != '#')
			r = one_line(name, at, line, list);
	}
	return r;
}

int envfile_read(const char *path, struct spec_list *list)
{
	auto_free char *data = NULL;
	ssize_t n = file_read(AT_FDCWD, path, FILE_MAX, &data);

	if (n < 0) {
		char why[300];

		snprintf(why, sizeof(why), "%.290s", fault_text());
		return fault_plain(
			(int)n, "--env-file \"%.200s\": %s (name a readable text file)", path, why);
	}
	return envfile_parse(path, data, (size_t)n, list);
}
