/* What the shim and the program that begins a command in a container without an init say to each
 * other, and the descriptors that this gets at its exec (holdfast-launch ID exec). Both are of one
 * release. Packets (ipc/channel.h) on one socket pair, whose end the command closes by its exec:
 *
 *   launch   BESIDE_BORN      the process is there, in the container, and waits
 *   shim     BESIDE_GO        it is noted, and held: go on
 *   process  BESIDE_FAILED    it could not become the command
 *   launch   BESIDE_REFUSED   there is no process
 */
#pragma once

#include <stdint.h>

#include "ipc/verbs.h"

enum beside_verb {
	BESIDE_BORN = 1, /* + 1 fd: its pidfd */
	BESIDE_GO,
	BESIDE_FAILED,	/* struct exec_failure */
	BESIDE_REFUSED, /* struct reply */
};

enum beside_fd {
	BESIDE_FD_CHANNEL = 3,
	BESIDE_FD_STATE, /* the container's state directory */
	BESIDE_FD_PID1,	 /* pidfd of its PID 1 */
	BESIDE_FD_EXEC,	 /* enum exec_fd: the plan, 0, 1, 2, the result */
	BESIDE_FD_LIMIT = BESIDE_FD_EXEC + 5,
};
