/* Which sysctls belong to a namespace: they may be set with one that is not the host's. */
#pragma once

#include <stdint.h>

/* CLONE_NEW* of a sysctl ("net/ipv4/ip_forward"), 0: the whole host's. */
uint64_t sysctl_namespace(const char *path);

/* Of the three kinds above, as /proc/PID/ns calls them. */
const char *namespace_name(uint64_t type);
