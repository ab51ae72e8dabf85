/* What the first keeper of a container makes, once: successors inherit it. */
#pragma once

#include "init/store.h"

int birth_listeners(struct store *store); /* enum container_socket; 0 or -errno */
int birth_shared(struct store *store);	  /* the shared memory, ipc/shared.h; 0 or -errno */
