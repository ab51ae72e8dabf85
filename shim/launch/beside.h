/* holdfast-launch ID exec: begins one command in a container that runs without an init. */
#pragma once

#include "shim/launch/launch.h"

/* Its descriptors are those of ipc/beside.h. 0, or a fault that the shim was told of. */
int beside_run(struct launch *l);
