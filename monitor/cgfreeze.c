#include "monitor/cgfreeze.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"
#include "monitor/cgenter.h"

#define PATH_BYTES 512
#define WAIT_USEC  (500 * USEC_PER_MSEC)
#define V1_STEP_MS 2

static int join(char *buf, const char *root, const char *path, const char *file)
{
	return snprintf(buf, PATH_BYTES, "%s%s/%s", root, path, file) < PATH_BYTES
		       ? 0
		       : fault(-ENAMETOOLONG, "cgroup %s", path);
}

static bool settled(int events, bool freeze)
{
	char text[256];
	ssize_t n = pread(events, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return strstr(text, freeze ? "frozen 1" : "frozen 0") != NULL;
}

/* cgroup.events tells when the last one stands still; a change of it wakes POLLPRI. */
static int freeze_v2(const char *root, const char *path, bool freeze)
{
	uint64_t deadline = now_mono() + WAIT_USEC, now;
	char file[PATH_BYTES];
	struct pollfd p;
	auto_fd events = -1;
	int r = join(file, root, path, "cgroup.events");

	if (r < 0)
		return r;
	events = open(file, O_RDONLY | O_CLOEXEC);
	if (events < 0)
		return fault(-errno, "open %s", file);
	r = join(file, root, path, "cgroup.freeze");
	if (r == 0)
		r = file_write(AT_FDCWD, file, freeze ? "1" : "0");
	if (r < 0)
		return r;
	p = (struct pollfd){.fd = events, .events = POLLPRI};
	while (!settled(events, freeze)) {
		now = now_mono();
		if (now >= deadline)
			return -EBUSY;
		poll(&p, 1, (int)((deadline - now) / USEC_PER_MSEC) + 1);
	}
	return 0;
}

/* v1 tells FREEZING until the last one stands still, and has no event for it. */
static int freeze_v1(const struct cghier *h, const char *path, bool freeze)
{
	uint64_t deadline = now_mono() + WAIT_USEC;
	const char *want = freeze ? "FROZEN" : "THAWED";
	char file[PATH_BYTES], text[32];
	int r = cgfs_enter(h, CG_FREEZER, path);

	if (r == 0)
		r = join(file, h->at[CG_FREEZER].root, path, "freezer.state");
	while (r == 0) {
		ssize_t n = file_write(AT_FDCWD, file, want);

		if (n == 0)
			n = file_read_buf(AT_FDCWD, file, text, sizeof(text));
		if (n < 0)
			return (int)n;
		if (strncmp(text, want, strlen(want)) == 0)
			return 0;
		if (now_mono() >= deadline)
			return -EBUSY;
		poll(NULL, 0, V1_STEP_MS);
	}
	return r;
}

static int turn(const struct cghier *h, const char *path, bool freeze)
{
	if (h->unified[0])
		return freeze_v2(h->unified, path, freeze);
	if (!h->at[CG_FREEZER].root[0])
		return fault_plain(-EOPNOTSUPP,
			"this host has neither a cgroup v2 tree nor v1's freezer (mount one)");
	return freeze_v1(h, path, freeze);
}

int cgfs_freeze(const struct cghier *h, const char *path, bool freeze)
{
	int r = turn(h, path, freeze);

	if (r != -EBUSY || !freeze)
		return r == -EBUSY ? 0 : r; /* told to go on: the kernel does the rest */
	turn(h, path, false);
	return fault_plain(-EBUSY,
		"cgroup %s does not stand still: a process waits inside the kernel (try again)",
		path);
}

bool cgfs_frozen(const struct cghier *h, const char *path)
{
	bool v2 = h->unified[0] != '\0';
	char file[PATH_BYTES], text[32];

	if (!v2 && !h->at[CG_FREEZER].root[0])
		return false;
	if (join(file, v2 ? h->unified : h->at[CG_FREEZER].root, path,
		    v2 ? "cgroup.freeze" : "freezer.state") < 0 ||
		file_read_buf(AT_FDCWD, file, text, sizeof(text)) < 0)
		return false;
	return v2 ? text[0] == '1' : strncmp(text, "FR", 2) == 0; /* FROZEN, FREEZING */
}
