/* Descriptor numbers at each exec between the programs. Placed by whoever execs, closed or marked
 * close-on-exec first thing by whoever is exec'd. init's own are in ipc/plan.h. */
#pragma once

/* Descriptors at exec, placed by whoever starts a keeper: the client, or a shim whose keeper died.
 */
enum keeper_fd {
	KEEPER_FD_STATE = 3,  /* the container's state directory */
	KEEPER_FD_LOCK,	      /* its lock: an OFD lock shared with the shim by inheritance */
	KEEPER_FD_SHIM_EXE,   /* O_PATH: an upgrade swaps the file, not what we hold */
	KEEPER_FD_LAUNCH_EXE, /* O_PATH */
	KEEPER_FD_SELF_EXE,   /* O_PATH: the keeper's own binary, for its successor */
	KEEPER_FD_INIT_EXE,   /* O_PATH: holdfast-init, for launch */
	KEEPER_FD_READY,      /* pipe: 'R' is written once clients may connect */
	KEEPER_FD_INHERIT, /* only after a keeper's death: channel on which the shim hands over */
	KEEPER_FD_LIMIT,
};

enum shim_fd {
	SHIM_FD_KEEPER = 3, /* channel to the keeper */
	SHIM_FD_STATE,
	SHIM_FD_LOCK,
	SHIM_FD_SHIM_EXE,
	SHIM_FD_LAUNCH_EXE,
	SHIM_FD_KEEPER_EXE,
	SHIM_FD_INIT_EXE,
	SHIM_FD_LIMIT,
};

enum launch_fd {
	LAUNCH_FD_KEEPER = 3, /* channel to the keeper */
	LAUNCH_FD_STATE,
	LAUNCH_FD_INIT_END, /* init's end of its channel to the shim */
	LAUNCH_FD_SHARED,
	LAUNCH_FD_INIT_EXE,
	LAUNCH_FD_LIMIT,
};
