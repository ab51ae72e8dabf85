/* Looks at the host's nodes while the command line is read: what is not there is found before
 * anything is made. */
#include "cli/devices.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cli/spec.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/mem.h"

#define DEPTH_MAX 8

struct scan {
	const struct option *option;
	const char *value;
	const char *access;
	struct spec_list *list;
};

/* What every container's /dev has: links, mounts, and these few nodes. */
static const char *const taken[] = {
	"fd", "stdin", "stdout", "stderr", "ptmx", "core", "pts", "shm", "mqueue"};
static const struct {
	const char *name;
	unsigned major, minor;
} usual[] = {{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9},
	{"tty", 5, 0}};

static int bad(const struct scan *s, const char *what)
{
	return option_bad(s->option, s->value, what);
}

/* Is the path free for this device? */
static int place_check(const struct scan *s, const char *path, const struct stat *st)
{
	const char *name = path + 5; /* behind "/dev/" */
	size_t n = strcspn(name, "/");

	if (strlen(path) >= 256 || strstr(path, "//") || name[strlen(name) - 1] == '/')
		return bad(s, "CONTAINER is no path of at most 255 bytes for a node");
	for (size_t i = 0; i < array_size(taken); i++)
		if (strlen(taken[i]) == n && strncmp(name, taken[i], n) == 0)
			return bad(s, "that name in /dev is taken (choose another CONTAINER path)");
	for (size_t i = 0; i < array_size(usual); i++)
		if (strcmp(name, usual[i].name) == 0 &&
			(!S_ISCHR(st->st_mode) ||
				st->st_rdev != makedev(usual[i].major, usual[i].minor)))
			return bad(s, "every container has its own device there (choose another "
				      "CONTAINER path)");
	return 0;
}

static int node_add(const struct scan *s, const char *path, const struct stat *st)
{
	struct spec_device d = {
		.type = S_ISCHR(st->st_mode) ? 'c' : 'b',
		.major = major(st->st_rdev),
		.minor = minor(st->st_rdev),
		.mode = st->st_mode & 0777,
		.uid = st->st_uid,
		.gid = st->st_gid,
	};
	int r = place_check(s, path, st);

	if (r < 0)
		return r;
	if (s->list->len >= DEVICES_MAX)
		return bad(s, "more than 100 devices in all (name fewer)");
	snprintf(d.access, sizeof(d.access), "%s", s->access);
	d.path = strdup(path);
	r = d.path ? spec_list_add(s->list, &d, sizeof(d)) : fault(-ENOMEM, "devices");
	if (r < 0)
		free(d.path);
	return r;
}

static int other(const struct dirent *e)
{
	static const char *const no[] = {".", "..", "pts", "shm", "fd", "mqueue", ".udev"};

	for (size_t i = 0; i < array_size(no); i++)
		if (strcmp(e->d_name, no[i]) == 0)
			return 0;
	return 1;
}

/* Links are left out: they lead to nodes that stand elsewhere. */
static int walk(const struct scan *s, int dirfd, const char *to, int depth);

static int entry(const struct scan *s, int dirfd, const char *name, const char *to, int depth)
{
	char path[PATH_MAX];
	struct stat st;
	auto_fd below = -1;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return 0; /* gone since it was listed */
	snprintf(path, sizeof(path), "%.3800s/%.255s", to, name);
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
		return node_add(s, path, &st);
	if (!S_ISDIR(st.st_mode) || depth >= DEPTH_MAX)
		return 0;
	below = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return below < 0 ? 0 : walk(s, below, path, depth + 1);
}

static int walk(const struct scan *s, int dirfd, const char *to, int depth)
{
	struct dirent **list = NULL;
	int r = 0, n = scandirat(dirfd, ".", &list, other, alphasort);

	if (n < 0)
		return bad(s, "HOST is a directory that can't be read");
	for (int i = 0; i < n; i++) {
		if (r == 0)
			r = entry(s, dirfd, list[i]->d_name, to, depth);
		free(list[i]);
	}
	free(list);
	return r;
}

static bool is_access(const char *text)
{
	return *text && strlen(text) <= 3 && text[strspn(text, "rwm")] == '\0' &&
	       text[0] != text[1] && (!text[1] || (text[0] != text[2] && text[1] != text[2]));
}

static int add_all(struct scan *s, const char *host, const char *container)
{
	size_t before = s->list->len;
	auto_fd dir = -1;
	struct stat st;
	int r;

	if (stat(host, &st) != 0)
		return bad(s, errno == ENOENT ? "HOST is not there (name a device of this host)"
					      : "HOST can't be looked at");
	if (strncmp(container, "/dev/", 5) != 0 || !container[5] || strstr(container, "/.."))
		return bad(s, "CONTAINER must be a path below /dev, without .. (devices stand only "
			      "there)");
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
		return node_add(s, container, &st);
	if (!S_ISDIR(st.st_mode))
		return bad(s, "HOST is not a device (-v shows files)");
	dir = open(host, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = dir < 0 ? bad(s, "HOST is a directory that can't be read") : walk(s, dir, container, 0);
	if (r == 0 && s->list->len == before)
		return bad(s, "HOST is a directory without a device in it");
	return r;
}

int devices_add(const struct option *o, const char *value, struct spec_list *list)
{
	struct scan s = {.option = o, .value = value, .access = "rwm", .list = list};
	auto_free char *text = strdup(value);
	char *rest = text, *host, *second, *third;

	if (!text)
		return fault(-ENOMEM, "--device");
	host = strsep(&rest, ":");
	second = strsep(&rest, ":");
	third = strsep(&rest, ":");
	if (host[0] != '/' || rest)
		return bad(&s,
			"use HOST, HOST:CONTAINER or HOST:CONTAINER:ACCESS with absolute paths");
	if (second && !third && is_access(second)) {
		third = second;
		second = NULL;
	}
	if (third && !is_access(third))
		return bad(&s, "ACCESS is made of r, w and m, each once: rw");
	if (third)
		s.access = third;
	return add_all(&s, host, second ? second : host);
}

void devices_finish(struct spec_list *list)
{
	struct spec_device *d = list->items;

	for (size_t i = 0; i < list->len; i++)
		free(d[i].path);
	free(d);
}
