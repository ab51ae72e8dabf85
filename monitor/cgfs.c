#include "monitor/cgfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"
#include "ipc/base/mem.h"

#define GROUP_DEPTH_MAX 16
#define PATH_BYTES	512
#define OUR_PARENT	"/holdfast/"
#define PROCS_MAX	(4u << 20)

struct group {
	const struct cghier *hier;
	const char *path;
	bool populated;
	uint32_t kept;
};

/* ROOT PATH/FILE; file may be NULL. */
static int join(char *buf, size_t size, const char *root, const char *path, const char *file)
{
	int n = snprintf(buf, size, "%s%s%s%s", root, path, file ? "/" : "", file ? file : "");

	return n > 0 && (size_t)n < size ? 0 : fault(-ENAMETOOLONG, "cgroup %s", path);
}

/* Killing -- v1 ---------------------------------------------------------------------------------
 */

/* Signals every process of one group once. Numbers may be reused between the read and the kill only
 * by processes of a group that is frozen, so none can. */
static int signal_procs(const char *root, const char *group)
{
	char path[PATH_BYTES];
	auto_free char *text = NULL;
	ssize_t n = join(path, sizeof(path), root, group, "cgroup.procs");

	if (n == 0)
		n = file_read(AT_FDCWD, path, PROCS_MAX, &text);
	if (n < 0)
		return n == -ENOENT || n == -ENODEV ? 0 : (int)n;
	for (char *p = text; *p;) {
		long pid = strtol(p, &p, 10);

		if (pid > 1)
			kill((pid_t)pid, SIGKILL);
		while (*p == '\n')
			p++;
	}
	return 0;
}

static int kill_v1(const struct cghier *h, const char *path)
{
	const struct cg_place *freezer = &h->at[CG_FREEZER];
	char state[PATH_BYTES];
	int r;

	if (!freezer->root[0])
		return fault_plain(-EOPNOTSUPP,
			"cgroup %s: neither cgroup.kill nor a freezer to kill it with", path);
	r = join(state, sizeof(state), freezer->root, path, "freezer.state");
	if (r < 0 || access(state, F_OK) < 0)
		return r;
	/* a v1-frozen task dies of SIGKILL only once thawed */
	file_write(AT_FDCWD, state, "FROZEN");
	r = signal_procs(freezer->root, path);
	file_write(AT_FDCWD, state, "THAWED");
	return r;
}

int cgfs_kill(const struct cghier *h, const char *path)
{
	char file[PATH_BYTES];
	auto_fd fd = -1;
	int r;

	if (!h->unified[0])
		return kill_v1(h, path);
	r = join(file, sizeof(file), h->unified, path, "cgroup.kill");
	if (r < 0)
		return r;
	fd = open(file, O_WRONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return fault(-errno, "open %s", file);
	if (write(fd, "1", 1) < 0 && errno != ENODEV)
		return fault(-errno, "write 1 to %s", file);
	return 0;
}

/* Looking ---------------------------------------------------------------------------------------
 */

/* v2 says it of the group and all below it; v1 has nothing but the list, and no list of a whole
 * tree.
 */
static int look(void *ctx, const char *root, bool v2)
{
	struct group *g = ctx;
	char path[PATH_BYTES], text[64];

	if (join(path, sizeof(path), root, g->path, v2 ? "cgroup.events" : "cgroup.procs") == 0 &&
		file_read_buf(AT_FDCWD, path, text, sizeof(text)) > 0)
		g->populated |= !v2 || strstr(text, "populated 1");
	return 0;
}

bool cgfs_populated(const struct cghier *h, const char *path)
{
	struct group g = {.hier = h, .path = path};

	cghier_each(h, look, &g);
	return g.populated;
}

/* Removing --------------------------------------------------------------------------------------
 */

/* Depth first: only directories can be removed in cgroupfs, files go with them. */
static int remove_tree(const char *dir, int depth)
{
	struct dirent *e;
	int r = 0;
	DIR *d;

	if (rmdir(dir) == 0 || errno == ENOENT)
		return 0;
	if (errno != EBUSY && errno != ENOTEMPTY)
		return fault(-errno, "rmdir %s", dir);
	if (depth > GROUP_DEPTH_MAX)
		return fault(-ELOOP, "rmdir %s", dir);
	d = opendir(dir);
	if (!d)
		return errno == ENOENT ? 0 : fault(-errno, "open %s", dir);
	while (r == 0 && (e = readdir(d))) {
		char child[1024];

		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		if (snprintf(child, sizeof(child), "%s/%s", dir, e->d_name) >= (int)sizeof(child))
			r = fault(-ENAMETOOLONG, "rmdir %s", dir);
		else
			r = remove_tree(child, depth + 1);
	}
	closedir(d);
	if (r == 0 && rmdir(dir) < 0 && errno != ENOENT)
		r = fault(-errno, "rmdir %s", dir);
	return r;
}

uint32_t cgfs_depth(const char *path)
{
	uint32_t n = 0;

	for (; *path; path++)
		n += path[0] == '/' && path[1] != '/' && path[1] != '\0';
	return n;
}

static bool ours(const char *path)
{
	return strncmp(path, OUR_PARENT, strlen(OUR_PARENT)) == 0;
}

static int remove_group(void *ctx, const char *root, bool v2)
{
	const struct group *g = ctx;
	char dir[PATH_BYTES], *slash;
	size_t top = strlen(root);
	int r = join(dir, sizeof(dir), root, g->path, NULL);

	if (r == 0)
		r = remove_tree(dir, 0);
	if (r < 0)
		return r;
	/* parents that were made for this group; one that holds another group just stays */
	while ((slash = strrchr(dir, '/')) && slash > dir + top) {
		*slash = '\0';
		if (cgfs_depth(dir + top) <= g->kept || rmdir(dir) < 0)
			break;
	}
	return 0;
}

int cgfs_remove(const struct cghier *h, const char *path, uint32_t kept)
{
	struct group g = {.hier = h, .path = path, .kept = kept};

	if (path[0] != '/' || path[1] == '\0')
		return fault_plain(-EINVAL, "cgroup \"%s\": never the root group", path);
	if (ours(path))
		g.kept = 0;
	return cghier_each(h, remove_group, &g);
}

static int count_existing(void *ctx, const char *root, bool v2)
{
	struct group *g = ctx;
	char dir[PATH_BYTES];
	size_t top = strlen(root);

	if (join(dir, sizeof(dir), root, g->path, NULL) < 0)
		return 0;
	while (strlen(dir) > top) {
		if (access(dir, F_OK) == 0) {
			uint32_t n = cgfs_depth(dir + top);

			g->kept = n > g->kept ? n : g->kept;
			return 0;
		}
		*strrchr(dir, '/') = '\0';
	}
	return 0;
}

uint32_t cgfs_existing(const struct cghier *h, const char *path)
{
	struct group g = {.hier = h, .path = path};

	if (ours(path))
		return 0; /* a leaf that a former life could not remove is still ours */
	cghier_each(h, count_existing, &g);
	return g.kept;
}

/* The number behind a key, which is never the file's first line. */
static int memory_keyed(
	const struct cghier *h, const char *path, const char *name, const char *key, uint64_t *ret)
{
	const struct cg_place *memory = &h->at[CG_MEMORY];
	char file[PATH_BYTES], text[512];
	const char *at;
	ssize_t n;

	if (!memory->root[0])
		return fault_plain(-EOPNOTSUPP, "this host has no memory controller");
	n = join(file, sizeof(file), memory->root, path, name);
	if (n == 0)
		n = file_read_buf(AT_FDCWD, file, text, sizeof(text));
	if (n < 0)
		return (int)n;
	at = strstr(text, key);
	if (!at)
		return fault_plain(-ENODATA, "%s: no line%s", file, key);
	*ret = strtoull(at + strlen(key), NULL, 10);
	return 0;
}

int cgfs_oom_kills(const struct cghier *h, const char *path, uint64_t *ret)
{
	return memory_keyed(h, path, h->at[CG_MEMORY].v2 ? "memory.events" : "memory.oom_control",
		"\noom_kill ", ret);
}

int cgfs_memory_ooms(const struct cghier *h, const char *path, uint64_t *ret)
{
	return memory_keyed(h, path, "memory.events.local", "\noom ", ret);
}

static int memory_figure(
	const struct cghier *h, const char *path, const char *v2, const char *v1, uint64_t *ret)
{
	const struct cg_place *memory = &h->at[CG_MEMORY];
	char file[PATH_BYTES], text[32];
	ssize_t n;

	if (!memory->root[0])
		return fault_plain(-EOPNOTSUPP, "this host has no memory controller");
	n = join(file, sizeof(file), memory->root, path, memory->v2 ? v2 : v1);
	if (n == 0)
		n = file_read_buf(AT_FDCWD, file, text, sizeof(text));
	if (n < 0)
		return (int)n;
	*ret = text[0] == 'm' ? UINT64_MAX : strtoull(text, NULL, 10);
	return 0;
}

int cgfs_memory_peak(const struct cghier *h, const char *path, uint64_t *ret)
{
	return memory_figure(h, path, "memory.peak", "memory.max_usage_in_bytes", ret);
}

int cgfs_memory_limit(const struct cghier *h, const char *path, uint64_t *ret)
{
	return memory_figure(h, path, "memory.max", "memory.limit_in_bytes", ret);
}

/* v1 has no other word for no limit than the largest number of pages. */
static bool is_limit(uint64_t bytes)
{
	return bytes < INT64_MAX / 2;
}

static void look_around(const struct cghier *h, const char *path, struct cgfs_around *ret)
{
	uint64_t limit = 0, ooms = 0, swap = 0;

	if (cgfs_memory_limit(h, path, &limit) == 0)
		ret->limited |= is_limit(limit);
	if (h->at[CG_MEMORY].v2) {
		cgfs_memory_ooms(h, path, &ooms);
	} else {
		memory_figure(h, path, "", "memory.failcnt", &ooms);
		memory_figure(h, path, "", "memory.memsw.failcnt", &swap);
	}
	ret->ooms += ooms + swap;
}

void cgfs_memory_around(const struct cghier *h, const char *path, struct cgfs_around *ret)
{
	char dir[PATH_BYTES], *slash;

	*ret = (struct cgfs_around){0};
	snprintf(dir, sizeof(dir), "%s", path);
	while ((slash = strrchr(dir, '/')) && slash > dir) {
		*slash = '\0';
		look_around(h, dir, ret);
	}
}
