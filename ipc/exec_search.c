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

/* Apart: who does not search does not touch so much stack. */
__attribute__((noinline)) static int search(
	char **argv, char **envp, int (*exec)(const char *path, char **argv, char **envp))
{
	char buf[PATH_MAX];
	const char *dir = search_path(envp);
	bool denied = false;
	int r;

	for (;;) {
		size_t len = strcspn(dir, ":");

		if (join(buf, dir, len, argv[0])) {
			r = exec(buf, argv, envp);
			if (!keep_looking(-r))
				return r;
			denied |= r == -EACCES;
		}
		if (dir[len] == '\0')
			return denied ? -EACCES : -ENOENT;
		dir += len + 1;
	}
}

int exec_search_by(
	char **argv, char **envp, int (*exec)(const char *path, char **argv, char **envp))
{
	if (argv[0][0] == '\0')
		return -ENOENT;
	if (strchr(argv[0], '/'))
		return exec(argv[0], argv, envp);
	return search(argv, envp, exec);
}

static int plain(const char *path, char **argv, char **envp)
{
	execve(path, argv, envp);
	return -errno;
}

int exec_search(char **argv, char **envp)
{
	return exec_search_by(argv, envp, plain);
}
