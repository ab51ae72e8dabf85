/* Small files, whole. dirfd/path as for openat(2); AT_FDCWD works. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/* Reads at most max bytes (a longer file is -EFBIG) into fresh memory with a NUL behind; the caller
 * frees *ret. Returns the length or a fault. */
ssize_t file_read(int dirfd, const char *path, size_t max, char **ret);

/* Reads into buf, NUL behind; what does not fit is cut. Returns the length or a fault. */
ssize_t file_read_buf(int dirfd, const char *path, char *buf, size_t size);

/* One write of all of len to an existing file (cgroup and proc files): 0 or a fault. */
int file_write(int dirfd, const char *path, const char *text);
int file_writef(int dirfd, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Replaces path atomically: temporary name, write, rename. 0 or a fault. */
int file_replace(int dirfd, const char *path, const void *data, size_t len, mode_t mode);

/* write(2) until all is out; 0 or -errno (no fault text). */
int write_all(int fd, const void *data, size_t len);

/* mkdir -p below dirfd; existing directories are fine. 0 or a fault. */
int dir_make(int dirfd, const char *path, mode_t mode);

/* rm -r of path below dirfd, never through a symlink, never across a mount point. 0 or a fault;
 * a path that is not there is 0. */
int dir_remove(int dirfd, const char *path);
