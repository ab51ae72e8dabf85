/* `holdfast exec`: a command beside a container's service. */
#pragma once

#include <stdbool.h>

#include "cli/client.h"
#include "cli/keys.h"
#include "cli/spec.h"

struct exec {
	bool interactive, tty, detach;
	struct spec_list env; /* char *, "NAME=VALUE"; one of each name */
	const char *workdir, *user, *detach_keys;
	char **argv; /* NULL-terminated */
};

/* cli/exec_run.c: sends the plan and what shall be the command's 0, 1, 2, and stays until its end;
 * on its terminal if master >= 0. The status to exit with. All descriptors are taken over. */
int exec_run(struct client *c, const struct state *s, const struct exec *x, int plan,
	const int stdio[3], int master);
