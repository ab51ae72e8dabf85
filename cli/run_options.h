/* The options of `holdfast run`, as one struct. */
#pragma once

#include "cli/spec.h"
#include "ipc/settings.h"

struct run {
	struct settings settings; /* magic, size and id come later */
	struct spec spec;
	const char *name; /* NULL: random */
	const char *cgroup;
	bool detach, tty, interactive, remove;
};

enum run_outcome { RUN_OK, RUN_HELP };

/* Reads argv and checks all that can be checked without looking at the host. An outcome, or a fault
 * whose text is for the user. */
int run_parse(struct run *run, int argc, char **argv);
void run_finish(struct run *run);
