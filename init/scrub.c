#include "init/scrub.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>

#include "init/dir.h"
#include "init/sys.h"

#define DEPTH_MAX 32 /* of a tree; a deeper one is left, and the sandbox is not clean */

/* One of our own file systems, or -1. By path alone that is not known: a volume may lie over the
 * place. O_PATH opens nothing of whatever stands there instead. */
static int open_place(const char *path, uint64_t dev)
{
	int at = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), fd = -1;
	struct stat st;

	if (at < 0)
		return -1;
	if (fstat(at, &st) == 0 && st.st_dev == dev)
		fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	close(at);
	return fd;
}

bool scrub_each_place(const struct plan *head, void (*f)(void *ctx, int fd), void *ctx)
{
	const struct plan *plan = NULL;
	const uint64_t *dev;
	bool all = true;
	const char *s;

	if (head->tmpfs.count == 0)
		return true;
	plan = mmap(NULL, head->size, PROT_READ, MAP_PRIVATE, PLAN_FD_PLAN, 0);
	if (plan == MAP_FAILED)
		return false;
	s = (const char *)plan + head->tmpfs.off;
	dev = (const void *)((const char *)plan + head->tmpfs_dev.off);
	for (uint32_t i = 0; i < head->tmpfs.count; i++, s += strlen(s) + 1) {
		int fd = open_place(s, dev[i]);

		all &= fd >= 0;
		if (fd < 0)
			continue;
		f(ctx, fd);
		close(fd);
	}
	munmap((void *)(uintptr_t)plan, head->size);
	return all;
}

/* Effective ids, hence file system ids, hence what may be unlinked. From uid 0 and back: the saved
 * ids stay 0, so the capabilities return with it. */
static void become(uid_t uid, gid_t gid)
{
	syscall(SYS_setresuid, -1, 0, -1);
	syscall(SYS_setresgid, -1, gid, -1);
	if (uid)
		syscall(SYS_setresuid, -1, uid, -1);
}

struct level {
	int fd;
	int depth;
	dev_t dev; /* never into another file system */
	struct stat st;
};

static void empty(int fd, int depth, dev_t dev);

/* Another user's directory, or one that its owner closed: opened as the owner. */
static int open_as_owner(const struct level *l, const char *name, const struct stat *st)
{
	become(st->st_uid, st->st_gid);
	fchmodat(l->fd, name, 0700, 0);
	return openat(l->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Of what can't be unlinked only a directory of this very file system is touched: a mount on it is
 * somebody else's, down to its mode. */
static int remove_entry(void *ctx, const char *name)
{
	struct level *l = ctx;
	struct stat st;
	int fd;

	if (unlinkat(l->fd, name, 0) == 0)
		return 0;
	if (fstatat(l->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode) ||
		st.st_dev != l->dev)
		return 0;
	fd = openat(l->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == EACCES)
		fd = open_as_owner(l, name, &st);
	if (fd >= 0) {
		if (l->depth < DEPTH_MAX)
			empty(fd, l->depth + 1, l->dev);
		close(fd);
	}
	become(l->st.st_uid, l->st.st_gid);
	unlinkat(l->fd, name, AT_REMOVEDIR);
	return 0;
}

/* As the owner, with the write bit set: that is enough for every entry, also of a sticky directory.
 * Twice, since removing while reading may skip entries. */
static void empty(int fd, int depth, dev_t dev)
{
	struct level l = {.fd = fd, .depth = depth, .dev = dev};

	if (fstat(fd, &l.st) < 0 || l.st.st_dev != dev)
		return;
	become(l.st.st_uid, l.st.st_gid);
	if ((l.st.st_mode & 0700) != 0700)
		fchmod(fd, l.st.st_mode | 0700);
	for (int i = 0; i < 2; i++) {
		lseek(fd, 0, SEEK_SET);
		dir_each(fd, remove_entry, &l);
	}
}

static void empty_place(void *ctx, int fd)
{
	struct stat st;

	if (fstat(fd, &st) == 0)
		empty(fd, 0, st.st_dev);
	become(0, 0);
}

static long number(const char **s)
{
	long v = 0, sign = 1;

	while (**s == ' ')
		++*s;
	if (**s == '-') {
		sign = -1;
		++*s;
	}
	for (; **s >= '0' && **s <= '9'; ++*s)
		v = v * 10 + (**s - '0');
	return v * sign;
}

/* The first object of a list in /proc/sysvipc: its id and its owner, who stands in column uid_at.
 */
static bool first_object(const char *list, int uid_at, int *id, uid_t *uid)
{
	char buf[1024];
	const char *s;
	ssize_t n;
	int fd = open(list, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (n <= 0)
		return false;
	buf[n] = '\0';
	s = strchr(buf, '\n');
	if (!s || s[1] == '\0')
		return false;
	s++;
	for (int column = 0; column <= uid_at; column++) {
		long v = number(&s);

		if (column == 1)
			*id = (int)v;
		*uid = (uid_t)v;
	}
	return true;
}

static long remove_shm(int id)
{
	return shmctl(id, IPC_RMID, NULL);
}

static long remove_sem(int id)
{
	return semctl(id, 0, IPC_RMID);
}

static long remove_msg(int id)
{
	return msgctl(id, IPC_RMID, NULL);
}

static void remove_objects(const char *list, int uid_at, long (*destroy)(int id))
{
	uid_t uid;
	int id;

	while (first_object(list, uid_at, &id, &uid)) {
		long r;

		become(uid, 0);
		r = destroy(id);
		become(0, 0);
		if (r < 0)
			return;
	}
}

int scrub(const struct plan *head)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	scrub_each_place(head, empty_place, NULL);
	if (head->flags & PLAN_OWN_IPCNS) {
		remove_objects("/proc/sysvipc/shm", 7, remove_shm);
		remove_objects("/proc/sysvipc/sem", 4, remove_sem);
		remove_objects("/proc/sysvipc/msg", 7, remove_msg);
	}
	return 0;
}
