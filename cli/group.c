#include "cli/group.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/file.h"
#include "ipc/cghier.h"

#define OURS	      "/holdfast/"
#define DEADLINE_USEC (5 * USEC_PER_SEC)
#define STEP_MS	      5

static bool ours(const char *path)
{
	return strncmp(path, OURS, strlen(OURS)) == 0 && path[strlen(OURS)] && !strstr(path, "/..");
}

/* One write kills the whole tree below, also what is just being forked (cgroup-v2.rst). */
static int group_kill(const char *unified, const char *path)
{
	char file[PATH_MAX];

	snprintf(file, sizeof(file), "%s%s/cgroup.kill", unified, path);
	if (unified[0] == '\0' || access(file, F_OK) < 0)
		return 0; /* nothing to kill it by: a group that stays is found below */
	return file_write(AT_FDCWD, file, "1");
}

/* rmdir says EBUSY for as long as somebody is in there, a dying process included. */
static int group_remove(void *ctx, const char *root, bool v2)
{
	uint64_t deadline = now_mono() + DEADLINE_USEC;
	const char *path = ctx;
	char dir[PATH_MAX];

	snprintf(dir, sizeof(dir), "%s%s", root, path);
	while (rmdir(dir) < 0) {
		if (errno == ENOENT)
			return 0;
		if (errno != EBUSY || now_mono() > deadline)
			return fault(-errno,
				"remove cgroup %s (end the processes in its cgroup.procs first)",
				dir);
		poll(NULL, 0, STEP_MS);
	}
	return 0;
}

/* Up to /holdfast, as far as they are empty: rmdir fails, rightly, where others are in there. */
static int parents_remove(void *ctx, const char *root, bool v2)
{
	const char *path = ctx;
	char dir[PATH_MAX], *slash;

	snprintf(dir, sizeof(dir), "%s%s", root, path);
	while ((slash = strrchr(dir, '/')) > dir + strlen(root)) {
		*slash = '\0';
		if (rmdir(dir) < 0 && errno != ENOENT)
			break;
	}
	return 0;
}

static int group_is_empty(void *ctx, const char *root, bool v2)
{
	const char *path = ctx;
	char file[PATH_MAX], byte[2];

	snprintf(file, sizeof(file), "%s%s/cgroup.procs", root, path);
	if (access(file, F_OK) < 0 || file_read_buf(AT_FDCWD, file, byte, sizeof(byte)) <= 0)
		return 0;
	return fault_plain(-EBUSY,
		"cgroup %s%s is not one of Holdfast's own and has processes (end them first)", root,
		path);
}

int group_end(const char *path)
{
	char copy[PATH_MAX];
	struct cghier h;
	int r = cghier_find(&h);

	snprintf(copy, sizeof(copy), "%s", path);
	if (r < 0)
		return r;
	if (!ours(path))
		return cghier_each(&h, group_is_empty, copy);
	r = group_kill(h.unified, path);
	if (r == 0)
		r = cghier_each(&h, group_remove, copy);
	return r < 0 ? r : cghier_each(&h, parents_remove, copy);
}
