/* Which places of the finished sandbox a run may fill and init may empty: told to init by path and
 * by the device number of the file system that this launch made there. What a later mount covers,
 * or what is not of our making, is never on that list. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/mem.h"
#include "shim/launch/blob.h"
#include "shim/launch/launch.h"
#include "shim/launch/path.h"
#include "shim/launch/recipe.h"

struct places {
	struct blob blob; /* the plan's size in zeros, then what is appended to it */
	struct plan_range paths;
	uint64_t dev[SANDBOX_MOUNTS];
	uint32_t count;
};

int place_made(struct launch *l, uint32_t i, const struct sandbox_mount *m, int mount)
{
	struct stat st;
	bool queue = m->kind == MOUNT_MQUEUE && launch_new_ns(l, CLONE_NEWIPC);

	if (!queue && (m->kind != MOUNT_TMPFS || (m->attr & MOUNT_ATTR_RDONLY)))
		return 0;
	if (fstat(mount, &st) != 0)
		return fault(-errno, "mount %s", sandbox_string(l->sb, m->target));
	l->made[i] = st.st_dev;
	return 0;
}

static bool listed(const struct places *p, uint64_t dev)
{
	for (uint32_t i = 0; i < p->count; i++)
		if (p->dev[i] == dev)
			return true;
	return false;
}

/* The target may have led through symlinks of the image: init gets the place itself. */
static void add(struct launch *l, struct places *p, const char *target, uint64_t dev)
{
	auto_fd at = path_open(l->root, target);
	char link[40], path[4096];
	struct stat st;
	ssize_t n;

	if (at < 0) {
		at = -1;
		return;
	}
	if (fstat(at, &st) != 0 || st.st_dev != dev || listed(p, dev))
		return; /* covered: nobody inside can get at it */
	snprintf(link, sizeof(link), "self/fd/%d", at);
	n = readlinkat(l->proc, link, path, sizeof(path));
	if (n <= 0 || n == sizeof(path))
		snprintf(path, sizeof(path), "%.4090s", target); /* init finds out by the device */
	else
		path[n] = '\0';
	blob_more(&p->blob, &p->paths, path);
	p->dev[p->count++] = dev;
}

static int append(struct launch *l, struct places *p)
{
	struct plan head = *l->in.plan;
	uint64_t keys[PLAN_PASSED_MAX];
	size_t old = head.size;

	head.tmpfs = p->paths;
	head.passed = (struct plan_range){0};
	for (uint32_t i = 0; i < l->passed_count; i++) {
		keys[i] = l->passed[i].key;
		blob_more(&p->blob, &head.passed, l->passed[i].name);
	}
	head.passed_key =
		blob_add(&p->blob, keys, l->passed_count * sizeof(*keys), l->passed_count);
	head.tmpfs_dev = blob_add(&p->blob, p->dev, p->count * sizeof(*p->dev), p->count);
	head.size = (uint32_t)p->blob.len;
	if (p->blob.len > PLAN_SIZE_MAX)
		return fault_plain(
			-E2BIG, "init plan: %zu bytes, at most %u", p->blob.len, PLAN_SIZE_MAX);
	if (pwrite(l->in.plan_fd, p->blob.data + old, p->blob.len - old, (off_t)old) !=
			(ssize_t)(p->blob.len - old) ||
		pwrite(l->in.plan_fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head))
		return fault(-EIO, "init plan: write");
	return 0;
}

/* In the new root, where each path means what it will mean to init. */
int step_places(struct launch *l)
{
	const struct sandbox_mount *m = sandbox_range(l->sb, l->sb->mounts, sizeof(*m));
	static struct places p;
	int r;

	if (launch_flag(l, SETTINGS_NO_INIT))
		return 0;
	blob_init(&p.blob, l->in.plan->size);
	for (uint32_t i = 0; i < l->sb->mounts.count; i++)
		if (l->made[i])
			add(l, &p, sandbox_string(l->sb, m[i].target), l->made[i]);
	r = append(l, &p);
	blob_finish(&p.blob);
	return r < 0 ? r : reader_seal(&l->in);
}
