/* The plan of one exec: what differs from the container's own plan, as one flat, sealed memfd of
 * fixed structs and byte ranges. Written by the client, passed on unread, read by the exec's child
 * alone just before it becomes the command. What it does not say (capabilities, filter, limits,
 * umask, no_new_privs) is the container's: nothing in here can raise it. Append-only. */
#pragma once

#include <stdint.h>

#include "ipc/plan.h"

#define EXEC_PLAN_MAGIC	   0x636578656668ULL
#define EXEC_PLAN_VERSION  1
#define EXEC_PLAN_SIZE_MAX (4u << 20)

enum exec_plan_flags {
	EXEC_TTY = 1u << 0,  /* descriptor 0 is a terminal: it becomes the controlling one */
	EXEC_USER = 1u << 1, /* uid, gid and groups instead of the service's */
	EXEC_CWD = 1u << 2,  /* cwd instead of the service's */
};

/* The descriptors that come with the request. */
enum exec_fd {
	EXEC_FD_PLAN,
	EXEC_FD_STDIO,
	EXEC_FD_RESULT = EXEC_FD_STDIO + 3, /* a pipe: struct exec_failure, or its end of file once
					     * the command was executed */
	EXEC_FDS,
};

struct exec_failure {
	uint32_t step; /* enum spawn_step of ipc/shared.h */
	int32_t errnum;
};

struct exec_plan {
	uint64_t magic;
	uint32_t version;
	uint32_t size; /* of the whole plan, bytes */
	uint32_t flags;
	uint32_t uid, gid;
	uint32_t pad;
	struct plan_range argv;	    /* strings; count >= 1 */
	struct plan_range env;	    /* strings NAME=VALUE: in the place of the service's */
	struct plan_range env_else; /* the same: only where there is none of the name */
	struct plan_range cwd;	    /* one string, absolute */
	struct plan_range groups;   /* uint32_t */
};
