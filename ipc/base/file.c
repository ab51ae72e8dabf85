#include "ipc/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/mem.h"

static ssize_t read_until(int fd, char *buf, size_t size)
{
	size_t len = 0;

	while (len < size) {
		ssize_t n = read(fd, buf + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

ssize_t file_read(int dirfd, const char *path, size_t max, char **ret)
{
	auto_fd fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	auto_free char *buf = NULL;
	size_t cap = 4096, len = 0;

	if (fd < 0)
		return fault(-errno, "open %s", path);
	for (;;) {
		char *grown = realloc(buf, cap + 1);
		ssize_t n;

		if (!grown)
			return fault(-ENOMEM, "read %s", path);
		buf = grown;
		n = read_until(fd, buf + len, cap - len);
		if (n < 0)
			return fault((int)n, "read %s", path);
		len += (size_t)n;
		if (len > max)
			return fault_plain(-EFBIG, "%s: larger than %zu bytes", path, max);
		if (len < cap)
			break;
		cap *= 2;
	}
	buf[len] = '\0';
	*ret = take(buf);
	return (ssize_t)len;
}

ssize_t file_read_buf(int dirfd, const char *path, char *buf, size_t size)
{
	auto_fd fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return fault(-errno, "open %s", path);
	n = read_until(fd, buf, size - 1);
	if (n < 0)
		return fault((int)n, "read %s", path);
	buf[n] = '\0';
	return n;
}

int write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int file_write(int dirfd, const char *path, const char *text)
{
	auto_fd fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return fault(-errno, "open %s", path);
	if (write(fd, text, strlen(text)) < 0)
		return fault(-errno, "write \"%s\" to %s", text, path);
	return 0;
}

int file_writef(int dirfd, const char *path, const char *fmt, ...)
{
	char text[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(text))
		return fault(-E2BIG, "write to %s", path);
	return file_write(dirfd, path, text);
}

int file_replace(int dirfd, const char *path, const void *data, size_t len, mode_t mode)
{
	char tmp[280];
	auto_fd fd = -1;
	int r;

	if ((size_t)snprintf(tmp, sizeof(tmp), "%s.new", path) >= sizeof(tmp))
		return fault(-ENAMETOOLONG, "%s", path);
	fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return fault(-errno, "create %s", tmp);
	r = write_all(fd, data, len);
	if (r == 0 && renameat(dirfd, tmp, dirfd, path) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(dirfd, tmp, 0);
		return fault(r, "write %s", path);
	}
	return 0;
}

int dir_make(int dirfd, const char *path, mode_t mode)
{
	char part[4096];
	size_t len = strlen(path);

	if (len == 0 || len >= sizeof(part))
		return fault(-ENAMETOOLONG, "mkdir %s", path);
	memcpy(part, path, len + 1);
	for (size_t i = 1; i <= len; i++) {
		if (part[i] != '/' && part[i] != '\0')
			continue;
		part[i] = '\0';
		if (mkdirat(dirfd, part, mode) < 0 && errno != EEXIST)
			return fault(-errno, "mkdir %s", part);
		part[i] = i < len ? '/' : '\0';
	}
	return 0;
}

/* Deeper than anything we ever make; a tree beyond it is not ours to remove. */
#define REMOVE_DEPTH_MAX 32

static int remove_below(int fd, int depth);

static int remove_entry(int dirfd, const char *name, int depth)
{
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV | RESOLVE_BENEATH,
	};
	int fd, r;

	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return fault(-errno, "remove %s", name);
	/* the top is the caller's word, wherever it lies; below it nothing leads out */
	fd = depth == 0 ? openat(dirfd, name, (int)how.flags)
			: (int)syscall(SYS_openat2, dirfd, name, &how, sizeof(how));
	if (fd < 0)
		return errno == ENOENT ? 0 : fault(-errno, "open %s", name);
	r = remove_below(fd, depth + 1);
	if (r == 0 && unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		r = fault(-errno, "rmdir %s", name);
	return r;
}

/* Takes over fd. */
static int remove_below(int fd, int depth)
{
	DIR *dir = fdopendir(fd);
	struct dirent *e;
	int r = 0;

	if (!dir) {
		r = fault(-errno, "read directory");
		close(fd);
		return r;
	}
	if (depth > REMOVE_DEPTH_MAX)
		r = fault(-ELOOP, "remove directory");
	while (r == 0 && (e = readdir(dir)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			r = remove_entry(dirfd(dir), e->d_name, depth);
	closedir(dir);
	return r;
}

int dir_remove(int dirfd, const char *path)
{
	return remove_entry(dirfd, path, 0);
}
