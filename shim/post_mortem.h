/* Keeps what was around each run's end (format: ipc/post_mortem.h). Numbers are written at once;
 * the end of the output follows when the pump has moved it. */
#pragma once

#include "ipc/base/loop.h"
#include "ipc/post_mortem.h"

struct shim;

struct post_mortems {
	int fd;				     /* -1: the file can't be had */
	uint32_t pending[POST_MORTEM_SLOTS]; /* runs whose output is to come, 0: none */
	struct loop_timer timer;
	unsigned tries; /* since the newest was added */
};

void post_mortem_setup(struct shim *s);

/* Where a predecessor left off. After the journal and the shared memory are there. */
void post_mortem_recover(struct shim *s);

/* A run has ended, and the journal says so. r: what init saw, NULL: nothing. */
void post_mortem_add(struct shim *s, const struct exit_info *e, const struct exit_record *r);

void post_mortem_finish(struct shim *s); /* what is pending is written as it is */
