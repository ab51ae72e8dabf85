/* Commands that change running containers over the API: one loop over the names. */
#pragma once

#include "cli/options.h"
#include "ipc/lib/holdfast.h"

/* One container, connected: >= 0, or as libholdfast's functions answer; -EINVAL: what the command
 * line says can't be (CLI_USAGE). */
typedef int (*change_one)(struct holdfast *h, const void *ctx);

/* Operands are names; the id of each is printed as it is done. The status to exit with. */
int change_each(char **names, int count, change_one one, const void *ctx);

/* Parses the options and asks for at least one name: OPTIONS_OK, OPTIONS_HELP or a fault. */
int change_parse(const struct option_table *table, void *ctx, int argc, char **argv, int *first);

struct state;

/* Nobody listens: a fault that says why, and what helps. */
int change_unsupervised(const struct state *s);
