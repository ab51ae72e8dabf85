/* A v1 hierarchy that a running container is not in yet: launch enters only those that it needs
 * from the start. */
#pragma once

#include "ipc/cghier.h"

/* Makes the container's group in the controller's hierarchy and moves every process there, those
 * that are forked meanwhile included. On v2, or where they are all there already, nothing happens.
 * 0 or a fault (a host without the controller: -EOPNOTSUPP). */
int cgfs_enter(const struct cghier *h, enum cg_controller c, const char *path);
