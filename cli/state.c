#include "cli/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/group.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"
#include "ipc/base/mem.h"

#define PREFIX_MIN 4
#define SHOWN_MAX  8 /* candidates in a message */
#define DIR_FLAGS  (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

static void realm_path(char *ret, size_t size)
{
	snprintf(ret, size, "%s/%s", state_root(), REALM);
}

void state_log_dir(const char *root, const char *id, char *ret, size_t size)
{
	snprintf(ret, size, "%s/%s/%s", root ? root : log_root(), REALM, id);
}

/* A directory that somebody else could write to is nothing to trust. */
static int owned(int fd, const char *path)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return fault(-errno, "stat %s", path);
	if (st.st_uid != geteuid() || (st.st_mode & 0077))
		return fault_plain(-EPERM,
			"%s: belongs to uid %u with mode %04o (make it uid %u, mode 0700)", path,
			st.st_uid, st.st_mode & 07777, geteuid());
	return 0;
}

static int realm_open(bool create)
{
	auto_fd fd = -1;
	char path[PATH_MAX];
	int r;

	realm_path(path, sizeof(path));
	fd = open(path, DIR_FLAGS);
	if (fd < 0 && errno == ENOENT && create) {
		r = dir_make(AT_FDCWD, path, 0700);
		if (r < 0)
			return r;
		fd = open(path, DIR_FLAGS);
	}
	if (fd < 0)
		return errno == ENOENT ? fault_plain(-ENOENT, "no containers")
		       : errno == EACCES
			       ? fault_plain(-EACCES, "%s: for root alone (use sudo)", path)
			       : fault(-errno, "open %s", path);
	r = owned(fd, path);
	return r < 0 ? r : fd_take(&fd);
}

static int open_below(int realm, const char *id, struct state *ret)
{
	int r;

	ret->dirfd = openat(realm, id, DIR_FLAGS);
	if (ret->dirfd < 0)
		return errno == ENOENT ? fault_plain(-ENOENT, "no container \"%s\"", id)
				       : fault(-errno, "open state directory of %s", id);
	snprintf(ret->id, sizeof(ret->id), "%s", id);
	r = owned(ret->dirfd, id);
	if (r < 0)
		state_close(ret);
	return r;
}

int state_create(const char *id, const char *log_dir, struct state *ret)
{
	auto_fd realm = realm_open(true);
	int r;

	ret->dirfd = -1;
	if (realm < 0)
		return realm;
	if (mkdirat(realm, id, 0700) < 0)
		return errno == EEXIST ? STATE_EXISTS
				       : fault(-errno, "create state directory %s", id);
	r = open_below(realm, id, ret);
	if (r == 0) /* output of a namesake that a reboot took the state of */
		r = dir_remove(AT_FDCWD, log_dir);
	if (r == 0)
		r = dir_make(AT_FDCWD, log_dir, 0700);
	if (r < 0) {
		if (state_current(ret))
			unlinkat(realm, id, AT_REMOVEDIR);
		state_close(ret);
	}
	return r;
}

int state_open(const char *id, struct state *ret)
{
	auto_fd realm = realm_open(false);

	ret->dirfd = -1;
	return realm < 0 ? realm : open_below(realm, id, ret);
}

/* A choice of `run`: twelve lower-case hex digits. */
static bool random_id(const char *id)
{
	return strlen(id) == 12 && strspn(id, "0123456789abcdef") == 12;
}

static bool abbreviates(const char *name, const char *id)
{
	size_t len = strlen(name);

	return len >= PREFIX_MIN && random_id(id) && strncmp(id, name, len) == 0;
}

static int unknown(const char *name)
{
	return fault_plain(-ENOENT, "no container \"%.100s\" (holdfast ps -a lists them)", name);
}

int state_status(int fault)
{
	return fault == -ENOTUNIQ ? CLI_USAGE : CLI_FAILED;
}

/* The ids that the name abbreviates: how many; the first is *hit, and the first few, for people,
 * are in text. */
static size_t hits_of(const char *name, char **ids, size_t len, char **hit, char *text, size_t size)
{
	size_t hits = 0, at = 0;

	for (size_t i = 0; i < len; i++) {
		if (!abbreviates(name, ids[i]))
			continue;
		if (hits < SHOWN_MAX)
			at += (size_t)snprintf(
				text + at, size - at, "%s%s", hits ? ", " : "", ids[i]);
		else if (hits == SHOWN_MAX)
			snprintf(text + at, size - at, ", ...");
		if (hits++ == 0)
			*hit = take(ids[i]);
	}
	return hits;
}

int state_find(const char *name, struct state *ret)
{
	auto_fd realm = realm_open(false);
	auto_free char *hit = NULL;
	char shown[SHOWN_MAX * 16 + 16];
	size_t len, hits;
	char **ids;
	int r;

	ret->dirfd = -1;
	if (realm < 0)
		return realm == -ENOENT ? unknown(name) : realm;
	if (id_check(name) == 0 && faccessat(realm, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return open_below(realm, name, ret);
	r = state_list(&ids, &len);
	if (r < 0)
		return r;
	hits = hits_of(name, ids, len, &hit, shown, sizeof(shown));
	for (size_t i = 0; i < len; i++)
		free(ids[i]);
	free(ids);
	if (hits > 1)
		return fault_plain(-ENOTUNIQ,
			"\"%.100s\" is the beginning of %zu ids (write more of it: %s)", name, hits,
			shown);
	return hits ? open_below(realm, hit, ret) : unknown(name);
}

static bool is_gone(const char *name)
{
	size_t len = strlen(name), tail = strlen(".gone");

	return name[0] == '.' && len > 1 + tail && strcmp(name + len - tail, ".gone") == 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names in the realm's directory, sorted: containers', or of what is being removed, ".ID.gone". */
static int names_list(bool gone, char ***ret, size_t *len)
{
	int fd = realm_open(false);
	char **names = NULL;
	struct dirent *e;
	DIR *dir;

	*ret = NULL;
	*len = 0;
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return fault(-ENOMEM, "read state directory");
	}
	while ((e = readdir(dir))) {
		char **grown;

		if (gone ? !is_gone(e->d_name) : id_check(e->d_name) < 0)
			continue;
		grown = realloc(names, (*len + 1) * sizeof(*names));
		if (!grown)
			break;
		names = grown;
		names[*len] = strdup(e->d_name);
		if (!names[*len])
			break;
		(*len)++;
	}
	closedir(dir);
	if (*len)
		qsort(names, *len, sizeof(*names), by_name);
	*ret = names;
	return 0;
}

int state_list(char ***ret, size_t *len)
{
	return names_list(false, ret, len);
}

int state_sweep(void)
{
	auto_fd realm = realm_open(false);
	char **names;
	size_t len;
	int first;

	if (realm < 0)
		return realm == -ENOENT ? 0 : realm;
	first = names_list(true, &names, &len);
	for (size_t i = 0; i < len; i++) {
		int r = dir_remove(realm, names[i]);

		first = first < 0 ? first : r;
		free(names[i]);
	}
	free(names);
	return first;
}

void state_close(struct state *s)
{
	fd_close(&s->dirfd);
}

static int lock_open(const struct state *s)
{
	int fd = openat(s->dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	return fd < 0 ? fault(-errno, "open lock of %s", s->id) : fd;
}

int state_supervised(const struct state *s)
{
	auto_fd fd = openat(s->dirfd, "lock", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	if (fd < 0)
		return errno == ENOENT ? 0 : fault(-errno, "open lock of %s", s->id);
	if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
		return fault(-errno, "ask for the lock of %s", s->id);
	return lock.l_type != F_UNLCK;
}

int state_lock(const struct state *s)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	auto_fd fd = lock_open(s);

	if (fd < 0)
		return fd;
	if (fcntl(fd, F_OFD_SETLK, &lock) < 0)
		return errno == EAGAIN || errno == EACCES
			       ? fault_plain(-EAGAIN, "%s is supervised by somebody", s->id)
			       : fault(-errno, "lock %s", s->id);
	return fd_take(&fd);
}

bool state_current(const struct state *s)
{
	auto_fd realm = realm_open(false);
	struct stat ours, named;

	return realm >= 0 && fstat(s->dirfd, &ours) == 0 &&
	       fstatat(realm, s->id, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       ours.st_ino == named.st_ino && ours.st_dev == named.st_dev;
}

int state_history(const struct state *s, struct history *ret, bool *stale)
{
	char now[BOOT_ID_LEN + 1];
	int r = history_read(s->dirfd, ret, NULL);

	*stale = false;
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = boot_id(now);
	if (r == 0)
		*stale = strcmp(now, ret->boot_id) != 0;
	return r;
}

void state_discard(struct state *s, const char *log_dir)
{
	auto_fd realm = realm_open(false);

	if (realm >= 0 && state_current(s)) {
		dir_remove(realm, s->id);
		dir_remove(AT_FDCWD, log_dir);
	}
	state_close(s);
}

/* Where its output went when it was created; HOLDFAST_LOG_DIR may be another one now. A path that
 * does not end as every log directory does is none. */
static void log_dir_of(
	const struct state *s, const struct settings *settings, char *ret, size_t size)
{
	char tail[REALM_MAX + ID_MAX + 8];
	size_t len = strlen(settings->log_dir), n;

	n = (size_t)snprintf(tail, sizeof(tail), "/%s/%s", REALM, s->id);
	if (settings->log_dir[0] == '/' && len > n &&
		strcmp(settings->log_dir + len - n, tail) == 0)
		snprintf(ret, size, "%s", settings->log_dir);
	else
		state_log_dir(NULL, s->id, ret, size);
}

/* Under the lock, and while the name is this container's. */
static int remove_locked(const struct state *s)
{
	auto_fd realm = realm_open(false);
	char gone[ID_MAX + 16], log_dir[PATH_MAX];
	struct settings settings;
	int r;

	if (realm < 0)
		return realm;
	if (settings_read(s->dirfd, &settings) < 0)
		settings.log_dir[0] = '\0';
	log_dir_of(s, &settings, log_dir, sizeof(log_dir));
	snprintf(gone, sizeof(gone), ".%s.gone", s->id);
	r = dir_remove(realm, gone); /* of a removal that did not end */
	if (r == 0 && renameat(realm, s->id, realm, gone) < 0)
		r = fault(-errno, "remove %s", s->id);
	if (r == 0)
		r = dir_remove(AT_FDCWD, log_dir);
	return r == 0 ? dir_remove(realm, gone) : r;
}

int state_remove(struct state *s)
{
	auto_fd lock = state_lock(s);

	if (lock == -EAGAIN)
		return -EBUSY;
	if (lock < 0)
		return lock;
	if (!state_current(s))
		return 0; /* somebody else removed it: the name may be another's now */
	return remove_locked(s);
}

int state_remove_forced(struct state *s)
{
	auto_fd lock = state_lock(s);
	struct settings settings;
	int r;

	if (lock < 0)
		return lock == -EAGAIN ? -EBUSY : lock;
	if (!state_current(s))
		return 0;
	r = settings_read(s->dirfd, &settings);
	if (r == -ENOENT) /* never got as far as having processes */
		r = 0;
	else if (r == 0)
		r = group_end(settings.cgroup);
	return r < 0 ? r : remove_locked(s);
}
