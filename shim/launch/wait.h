/* The child's side of the sync pair. */
#pragma once

#include "shim/launch/recipe.h"

/* Until the parent says want: 0 or a fault. With the parent gone this process leaves at once. */
int wait_parent(struct launch *l, enum sync_verb want);
