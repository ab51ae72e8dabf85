/* The writer of an exec's plan (ipc/exec_plan.h), for whoever begins one: the tool, or the shim for
 * its API. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct exec_wish {
	char *const *argv;
	size_t argc; /* at least 1 */
	char *const *env;
	size_t env_len;	  /* "NAME=VALUE"; of each name one */
	const char *cwd;  /* absolute; NULL: the service's */
	const char *home; /* HOME of another user, unless env has it; NULL: as it is */
	bool terminal;
	bool has_user; /* else the service's */
	uint32_t uid, gid;
	const uint32_t *groups;
	size_t groups_len;
};

/* The sealed memfd, or a fault (-E2BIG: too large). */
int exec_write(const struct exec_wish *wish);
