/* The new mount API in the shape in which the recipe uses it: everything is a descriptor. -errno.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* A detached copy of the mount at path below dir (path "": dir itself). */
int mnt_clone(int dir, const char *path, bool recursive);

/* Sets and clears MOUNT_ATTR_* on the whole tree or the top mount. */
int mnt_attr(int mount, uint64_t set, uint64_t clear, bool recursive);

/* Shows the mount with the ids of a user namespace. */
int mnt_idmap(int mount, int userns, bool recursive);

/* Puts a detached mount onto the file or directory that target is. */
int mnt_attach(int mount, int target);

/* A fresh file system, detached: options are KEY or KEY=VALUE, NULL at the end. The kernel's own
 * sentence about what it did not like goes to *why (static), "" if it gave none. */
int mnt_new(const char *type, uint64_t attr, const char *const *options, const char **why);
