#include "monitor/cgenter.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/file.h"
#include "ipc/base/mem.h"

#define PATH_BYTES 512
#define PROCS_MAX  (4u << 20)
#define PASSES	   20 /* each moves what was forked during the one before: a few will do */

static const char *const names[CG_CONTROLLERS] = {
	"memory", "cpu", "cpuacct", "pids", "devices", "freezer", "cpuset", "blkio"};

static int join(char *buf, const char *root, const char *path, const char *file)
{
	return snprintf(buf, PATH_BYTES, "%s%s%s%s", root, path, file[0] ? "/" : "", file) <
			       PATH_BYTES
		       ? 0
		       : fault(-ENAMETOOLONG, "cgroup %s", path);
}

/* v1 refuses processes to a cpuset whose cpus or mems are empty: each level takes those above. */
static int cpuset_inherit(const char *root, const char *path, const char *name)
{
	char at[PATH_BYTES], file[PATH_BYTES + 32], value[1024];

	snprintf(file, sizeof(file), "%s/%s", root, name);
	if (file_read_buf(AT_FDCWD, file, value, sizeof(value)) < 0)
		return fault(-EIO, "read %s", file);
	for (const char *p = path; p; p = strchr(p + 1, '/')) {
		const char *end = strchr(p + 1, '/');
		char own[1024];
		int r;

		snprintf(at, sizeof(at), "%s%.*s", root,
			(int)(end ? end - path : (ptrdiff_t)strlen(path)), path);
		snprintf(file, sizeof(file), "%s/%s", at, name);
		if (file_read_buf(AT_FDCWD, file, own, sizeof(own)) > 1) {
			memcpy(value, own, sizeof(value));
			continue;
		}
		value[strcspn(value, "\n")] = '\0';
		r = file_write(AT_FDCWD, file, value);
		if (r < 0)
			return r;
	}
	return 0;
}

static bool listed(const char *procs, const char *pid, size_t len)
{
	for (const char *at = procs; (at = strstr(at, pid)); at += len)
		if ((at == procs || at[-1] == '\n') && (at[len] == '\n' || at[len] == '\0'))
			return true;
	return false;
}

/* One pass over the processes of `from`: how many were not in `to`, or a fault. */
static int move_missing(const char *from, const char *to)
{
	auto_free char *all = NULL, *there = NULL;
	char *save = NULL;
	int moved = 0;
	ssize_t n = file_read(AT_FDCWD, from, PROCS_MAX, &all);

	if (n >= 0)
		n = file_read(AT_FDCWD, to, PROCS_MAX, &there);
	if (n < 0)
		return (int)n;
	for (char *pid = strtok_r(all, "\n", &save); pid; pid = strtok_r(NULL, "\n", &save)) {
		int r;

		if (listed(there, pid, strlen(pid)))
			continue;
		r = file_write(AT_FDCWD, to, pid);
		if (r < 0 && r != -ESRCH) /* it has ended */
			return r;
		moved++;
	}
	return moved;
}

int cgfs_enter(const struct cghier *h, enum cg_controller c, const char *path)
{
	const struct cg_place *place = &h->at[c];
	const char *known = h->unified[0] ? h->unified : h->at[CG_MEMORY].root;
	char from[PATH_BYTES], to[PATH_BYTES];
	int r;

	if (!place->root[0])
		return fault_plain(-EOPNOTSUPP,
			"this host has no cgroup controller \"%s\" (enable it, or leave its limit out)",
			names[c]);
	if (place->v2)
		return 0;
	r = join(to, place->root, path, "");
	if (r == 0)
		r = dir_make(AT_FDCWD, to, 0755);
	if (r == 0 && c == CG_CPUSET)
		r = cpuset_inherit(place->root, path, "cpuset.cpus");
	if (r == 0 && c == CG_CPUSET)
		r = cpuset_inherit(place->root, path, "cpuset.mems");
	if (r == 0)
		r = join(from, known, path, "cgroup.procs");
	if (r == 0)
		r = join(to, place->root, path, "cgroup.procs");
	for (int i = 0; r == 0 && i < PASSES; i++) {
		r = move_missing(from, to);
		if (r == 0)
			return 0;
		r = r < 0 ? r : 0;
	}
	return r < 0 ? r
		     : fault_plain(-EBUSY, "cgroup %s: forks faster than it can be moved", path);
}
