#include "ipc/exec_search.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

static const char *search_path(char **envp)
{
	for (; *envp; envp++)
		if (strncmp(*envp, "PATH=", 5) == 0)
			return *envp + 5;
	return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

/* DIR/NAME; an empty element of PATH means the working directory. */
static bool join(char buf[PATH_MAX], const char *dir, size_t dirlen, const char *name)
{
	size_t namelen = strlen(name) + 1;

	if (dirlen == 0) {
		dir = ".";
		dirlen = 1;
	}
	if (dirlen + 1 + namelen > PATH_MAX)
		return false;
	memcpy(buf, dir, dirlen);
	buf[dirlen] = '/';
	memcpy(buf + dirlen + 1, name, namelen);
	return true;
}

/* Failures after which execvp(3) tries the next directory. */
static bool keep_looking(int err)
{
	switch (err) {
	case EACCES:
	case ENOENT:
	case ENOTDIR:
	case ELOOP:
	case ENAMETOOLONG:
	case ESTALE:
	case ENODEV:
	case ETIMEDOUT:
		return true;
	default:
		return false;
	}
}

int exec_search(char **argv, char **envp)
{
	char buf[PATH_MAX];
	const char *dir = search_path(envp);
	bool denied = false;

	if (argv[0][0] == '\0')
		return -ENOENT;
	if (strchr(argv[0], '/')) {
		execve(argv[0], argv, envp);
		return -errno;
	}
	for (;;) {
		size_t len = strcspn(dir, ":");

		if (join(buf, dir, len, argv[0])) {
			execve(buf, argv, envp);
			if (!keep_looking(errno))
				return -errno;
			denied |= errno == EACCES;
		}
		if (dir[len] == '\0')
			return denied ? -EACCES : -ENOENT;
		dir += len + 1;
	}
}
