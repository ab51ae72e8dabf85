/* The limits of config.json, as files of the container's cgroups. */
#pragma once

#include "shim/launch/launch.h"

/* Does it have a limit that needs this kind of group? A host without the controller is then a
 * failure. */
bool limits_want(const struct launch *l, int kind);
