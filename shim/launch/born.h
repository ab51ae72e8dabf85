/* The clone and what only the parent can do for the newborn. */
#pragma once

struct launch;

/* A user namespace that carries the container's id maps, for id-mapped mounts: they must exist
 * before the container does. A descriptor, or a fault. */
int born_userns(struct launch *l);

/* Takes out of the plan what this host's root lacks itself: capabilities, limits above its own. */
void born_fit(struct launch *l);
