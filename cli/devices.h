/* --device: nodes of the host as nodes of the container's own /dev. */
#pragma once

#include "cli/options.h"
#include "cli/spec_resources.h"

#define DEVICES_MAX 100 /* in all; the sandbox holds a few more, for those of the bundle */

/* HOST[:CONTAINER][:ACCESS], HOST a node, or a directory whose nodes are meant. Appends to list (a
 * later node of the same path stands behind the earlier one). 0 or a fault. */
int devices_add(const struct option *o, const char *value, struct spec_list *list);

void devices_finish(struct spec_list *list);
