/* Which sysctls belong to a namespace: they may be set with one that is not the host's. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* "net.ipv4.ip_forward" or, for names with dots in them, "net/ipv4/conf/eth0.1/forwarding" -> the
 * path below /proc/sys. 0, or -EINVAL (no fault text) for what is no sysctl's name. */
int sysctl_path(const char *key, char *path, size_t size);

/* CLONE_NEW* of a sysctl's path, 0: the whole host's. */
uint64_t sysctl_namespace(const char *path);

/* Of the three kinds above, as /proc/PID/ns calls them. */
const char *namespace_name(uint64_t type);
