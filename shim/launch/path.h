/* The only places that turn a path of the container into a descriptor. Everything beneath the
 * rootfs is resolved as if it were the root: an image's symlinks can't lead out, whoever races with
 * us. */
#pragma once

#include <stddef.h>

/* O_PATH descriptor of path (absolute in the container) beneath root, or -errno. */
int path_open(int root, const char *path);

/* The same without any symlink on the way: for /proc, /sys, /dev themselves. */
int path_open_plain(int root, const char *path);

/* A directory below dir: no symlink, no other mount, nothing above. */
int path_open_beneath(int dir, const char *name);

/* As path_open(), making missing directories, and at the end a directory or an empty file. */
int path_make(int root, const char *path, int is_dir);

/* A file of procfs for writing: beneath proc, same mount, no links of any kind. */
int path_open_proc(int proc, const char *path, int flags);
