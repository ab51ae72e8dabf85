/* Who the service runs as: numbers, or names looked up in the container's own files. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define IDENTITY_GROUPS_MAX 64

struct identity {
	uint32_t uid, gid;
	uint32_t groups[IDENTITY_GROUPS_MAX]; /* supplementary */
	size_t groups_len;
	char home[256]; /* "" when nobody said */
};

/* text: UID, UID:GID, NAME, NAME:GROUP and mixtures; numbers are decimal, whole, up to 2^32-2, and
 * never looked up: UID alone has group 0, as engines have it. Names are looked up in rootfs's
 * /etc/passwd and /etc/group. 0, or a fault that begins with `--user "TEXT"`. */
int identity_resolve(const char *text, const char *rootfs, struct identity *ret);

/* The pure parts. Data is a whole NUL-terminated passwd or group file. 1 found, 0 not there. */
int identity_number(const char *text, size_t len, uint32_t *ret); /* 0, -EINVAL, or -ERANGE */
int identity_in_passwd(const char *data, const char *name, size_t len, struct identity *ret);
int identity_in_group(const char *data, const char *name, size_t len, uint32_t *gid);
void identity_groups(const char *data, const char *user, size_t len, struct identity *ret);
