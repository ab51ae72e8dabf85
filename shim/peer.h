/* Who is at the other end of a connection. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* Is the peer (SO_PEERCRED: pid) a process of the container, in its cgroup, or in another pid
 * namespace than ours? One that can't be looked at any more counts as such. */
bool peer_inside(int fd, pid_t pid, const char *cgroup);
