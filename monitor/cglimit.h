/* Changes limits of a running container, all of them or none: each file's former content is noted
 * before it is written. */
#pragma once

#include "ipc/cghier.h"
#include "ipc/settings.h"

#define CGLIMIT_FILES 8

struct cglimit_undo {
	unsigned len;
	struct {
		char file[512];
		char was[256];
	} files[CGLIMIT_FILES];
};

/* Fills in what follows from a change: a new memory limit without a word of swap leaves as much
 * swap as there was. A change that can't be is a fault (-EINVAL). */
int cglimit_complete(const struct cghier *h, const char *path, struct changed_limits *c);

/* Writes them. A fault (-EINVAL: the value can't be, -EOPNOTSUPP: this host can't) leaves
 * everything as it was. `asked` has the bits of c->given that somebody has named: what only follows
 * is left out where the host has no file for it. */
int cglimit_apply(const struct cghier *h, const char *path, const struct changed_limits *c,
	uint32_t asked, struct cglimit_undo *undo);
void cglimit_undo(struct cglimit_undo *undo);
