/* What the first keeper of a container makes, once: successors inherit it. */
#pragma once

#include "init/store.h"

int birth_listener(struct store *store); /* the control socket; 0 or -errno */
int birth_shared(struct store *store);	 /* the shared memory, ipc/shared.h; 0 or -errno */
