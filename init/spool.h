/* The service's output while nobody supervises: moved from the pipes into a memory file per stream,
 * as far as it has room, then to the null device, counted. So the service never waits for a reader
 * that may not come. What there is of it stands in the shared memory (ipc/shared.h); an adopter
 * gets the files at the door, and says when their bytes are in the log. */
#pragma once

#include "init/output.h"

struct pid1;

struct spool {
	int fd[STREAMS]; /* memory files, -1: none */
};

void spool_init(struct spool *s);

/* Both supervisors are gone. */
void spool_begin(struct pid1 *p);

/* What is to be read now, and whose reading is spool_turn(); -1: nothing. */
int spool_source(const struct pid1 *p, int stream);
void spool_turn(struct pid1 *p, int stream);

/* When a run's output is all read the next one's turn has come. */
void spool_settle(struct pid1 *p);

/* It is in the log. */
void spool_reset(struct pid1 *p);
