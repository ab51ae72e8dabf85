/* Every verb that the programs say to each other, and the fixed layout of its body. Numbers are
 * never reused and layouts only grow at the end: a shim speaks to every released init and keeper.
 *
 *   1xx  shim   -> init        2xx  init   -> shim
 *   3xx  shim   -> keeper      4xx  keeper -> shim
 *   5xx  launch -> keeper
 *   6xx  client -> shim        7xx  shim   -> client
 */
#pragma once

#include <stdint.h>

#include "ipc/channel.h"
#include "ipc/plan.h"
#include "ipc/shared.h"

enum verb_id {
	/* shim -> init. Each is answered by INIT_REPLY with the same tag unless said otherwise. */
	INIT_START = 100, /* none: begin run 1 (or, after hold, the next run) */
	INIT_SIGNAL,	  /* struct signal_req */
	INIT_STOP,	  /* struct stop_req: desired = down, signal, grace, then kill everything */
	INIT_RESTART,	  /* struct stop_req: the same, then a new run whatever the policy says */
	INIT_HOLD,	  /* struct u32_req: 1 no start after the next exit, 0 release */
	INIT_ACK,	  /* struct ack_req (older: u64_req): what is journalled; no answer */
	INIT_DRAINED,	  /* struct u32_req: output of runs up to this one is drained; no answer */
	INIT_SYNC,	  /* none: a new shim; init sends HELLO, undrained PIPES, STARTED again */
	INIT_READY,	  /* none: the service said it is ready; the run is healthy; no answer */
	INIT_STORE,	  /* struct store_req + 1 fd: pass it to each further run */
	INIT_UNSTORE,	  /* struct u64_req: key; close it */
	INIT_POLICY,	  /* struct policy_conf: from now on, in place of the plan's */
	INIT_EXEC,	  /* struct u64_req: id + fds as enum exec_fd; answered by INIT_EXECED,
			     or by INIT_REPLY with what is in the way */
	INIT_KEEP,	  /* struct held + 1 fd: for whoever adopts; replaces what has this name;
			     no answer */
	INIT_UNKEEP,	  /* struct held: close it; no answer */
	INIT_HAND,	  /* struct u32_req: which of the things that an adopter needs, from 0;
			     answered by INIT_HANDED, by INIT_REPLY when there are no more */
	INIT_SPOOLED,	  /* none: what was kept in memory is in the log; no answer */

	/* init -> shim. Doorbells: what they tell stands in the shared memory too. */
	INIT_HELLO = 200, /* struct init_hello */
	INIT_REPLY,	  /* struct reply */
	INIT_PIPES,	  /* struct init_pipes + 2 fds: read ends of the run's stdout, stderr */
	INIT_STARTED,	  /* struct init_started + 1 fd: the service's pidfd */
	INIT_RECORD,	  /* struct u64_req: the exit ring has records up to this seq */
	INIT_WAITING,	  /* struct init_waiting: the old run is not gone yet */
	INIT_EXECED,	  /* struct init_execed + 1 fd: the process's pidfd */
	INIT_HANDED,	  /* struct held + 1 fd: a copy; pipes of output come by INIT_SYNC */
	INIT_BELL, /* none + 1 fd, after each INIT_HELLO: a socket in which there are bytes when
		      packets are to be fetched; its end is PID 1's. Packets that need not be
		      fetched at once come without. */

	/* shim -> keeper */
	KEEPER_READY = 300, /* none: this shim supervises; the predecessor's back-off is forgotten.
			       To a keeper that inherits: that was all; its tag: connections are
			       numbered from above it */
	KEEPER_HOLD,	    /* struct held + 1 fd: keep under this name, replacing what had it */
	KEEPER_DROP,	    /* struct held: close what has this name */
	KEEPER_LAUNCH,	    /* struct launch_req: make a sandbox; answered by KEEPER_LAUNCHED */
	KEEPER_REAP_ACK,    /* struct u64_req: nonce; its child-table entry may be forgotten */
	KEEPER_KILL,	    /* struct u64_req: nonce; SIGKILL to that child */
	KEEPER_RETIRE,	    /* none: nothing more to supervise; leave as soon as the shim is gone */

	/* keeper -> shim */
	KEEPER_HELLO = 400, /* struct keeper_hello; first packet of every shim */
	KEEPER_HELD, /* struct held + 1 fd: a descriptor kept for the shim; launch is told of those
			that the service gets */
	KEEPER_HELD_END, /* none: all of them were sent; to a launch: its tag is the nonce, go */
	KEEPER_CONN,	 /* struct held_conn + 1 fd: a new client (kept as HELD_CONN) */
	KEEPER_LAUNCHED, /* struct launch_result: the fds came before, as KEEPER_HELD */
	KEEPER_REAPED, /* struct reaped: a child ended; repeated to each shim until acknowledged */

	/* launch -> keeper */
	LAUNCH_HOLD = 500, /* struct held + 1 fd: deposit before use; the keeper passes it on */
	LAUNCH_RESULT,	   /* struct launch_result */

	/* client -> shim */
	CLIENT_START =
		600,   /* none: launch and start; answered by CLIENT_STARTED or CLIENT_FAILED */
	CLIENT_STATE,  /* none -> CLIENT_STATE_IS */
	CLIENT_SIGNAL, /* struct signal_req -> CLIENT_REPLY */
	CLIENT_STOP,   /* struct stop_req -> CLIENT_REPLY at once; the end comes with CLIENT_WAIT */
	CLIENT_RESTART,	  /* struct stop_req -> CLIENT_REPLY */
	CLIENT_WAIT,	  /* none -> CLIENT_EXITED when the container is down for good */
	CLIENT_STDIN,	  /* struct stdin_frame + bytes -> CLIENT_REPLY after the write */
	CLIENT_STDIN_EOF, /* none -> CLIENT_REPLY: the service sees end of file */
	CLIENT_WINSIZE,	  /* struct winsize_req -> CLIENT_REPLY */
	CLIENT_REMOVE,	  /* struct u32_req: 1 force -> CLIENT_REPLY, then the state is gone */
	CLIENT_EXEC,	  /* struct exec_req + fds as enum exec_fd -> CLIENT_EXECED or
			     CLIENT_REPLY, then CLIENT_EXEC_ENDED; once a connection */
	CLIENT_EXEC_WAIT, /* none -> CLIENT_EXEC_ENDED (again); for after CLIENT_TAKEOVER */

	/* shim -> client */
	CLIENT_REPLY = 700, /* struct reply */
	CLIENT_STARTED,	    /* struct client_started */
	CLIENT_FAILED,	    /* struct launch_result: nothing runs, nothing is left */
	CLIENT_STATE_IS,    /* struct client_state */
	CLIENT_EXITED,	    /* struct exit_info */
	CLIENT_PROGRESS,    /* struct client_progress: what a start or stop waits for */
	CLIENT_TAKEOVER,    /* none: a new shim serves; a stdin frame without an answer counts as
			       written */
	CLIENT_READY,	    /* none: the service has said READY=1 (--notify) */
	CLIENT_EXECED,	    /* struct client_execed + 1 fd: the process's pidfd */
	CLIENT_EXEC_ENDED,  /* struct exec_end */
};

struct u32_req {
	uint32_t value, pad;
};

struct u64_req {
	uint64_t value;
};

/* The highest exit record that is journalled, and how many exits it counted when it was read. */
struct ack_req {
	uint64_t value;
	uint32_t count, pad;
};

struct reply {
	int32_t err;	/* 0 or -errno */
	uint32_t step;	/* without init: the start's step that failed, enum spawn_step; else 0 */
	char text[240]; /* one sentence when err != 0, NUL-terminated */
};

#define SIGNAL_TO_ALL 1u /* every process of the container, not only the service */

struct signal_req {
	uint32_t signo;
	uint32_t flags;
};

/* In has_grace: */
#define STOP_HAS_GRACE 1u /* grace_usec counts; else the container's stop timeout */
#define STOP_BY_POLICY 2u /* INIT_RESTART: the run has failed, and what follows is the policy's */
#define STOP_EXTEND    4u /* INIT_STOP: no signal; only a grace that runs is made longer */
/* With STOP_BY_POLICY: it is about this run, and no later one. */
#define STOP_RUN(run) ((uint32_t)(run) << 8)

struct stop_req {
	uint32_t signo;	     /* 0: the container's stop signal */
	uint32_t has_grace;  /* 0: the container's stop timeout */
	uint64_t grace_usec; /* then SIGKILL to everything */
};

struct init_hello {
	uint32_t version;
	uint32_t caps; /* capability word, 0 so far */
	uint64_t head; /* newest exit seq */
};

struct init_pipes {
	uint32_t run;
	uint32_t size;	 /* what the kernel gave, bytes */
	uint32_t reused; /* the pair of the run before goes on: the boundary is inferred */
	uint32_t pad;
};

struct init_started {
	uint32_t run;
	int32_t pid;	    /* in the container's pid namespace */
	uint64_t boot_usec; /* when exec had succeeded */
};

struct init_waiting {
	uint32_t run;
	uint32_t left;	     /* processes that have not died, as far as init can tell */
	uint64_t since_usec; /* how long already */
};

struct store_req {
	uint64_t key; /* from 1; one that is there already is left alone */
	char name[PLAN_NAME_MAX + 1];
};

/* Names of held descriptors: a kind and a key (run number, connection id; else 0). */
enum held_kind {
	HELD_LISTENER = 1, /* control socket */
	HELD_INIT_CHANNEL, /* the shim's end of init's channel */
	HELD_SHARED,	   /* ipc/shared.h */
	HELD_INIT_PIDFD,   /* PID 1 of the container, whoever that is */
	HELD_TTY,	   /* terminal master */
	HELD_STDIN,	   /* write end of the service's stdin */
	HELD_STDOUT,	   /* key: run */
	HELD_STDERR,	   /* key: run */
	HELD_CONN,	   /* key: connection id */
	HELD_TTY_PIPE_RD,  /* what has left the terminal and not yet reached the log */
	HELD_TTY_PIPE_WR,
	HELD_LISTEN,	    /* key: index in the list of listeners */
	HELD_NOTIFY,	    /* where the service's notifications arrive */
	HELD_STORED,	    /* key: ipc/stored.h */
	HELD_CALLS,	    /* the shim's table of calls under way (shim/calls.h) */
	HELD_EXEC,	    /* an API exec's input or output; key: shim/exec_io.c */
	HELD_RULES = 20,    /* the state of the monitor's rules (shim/overload.h) */
	HELD_PROBE = 32,    /* key: of the probe; a socket in the container's network */
	HELD_ROOT,	    /* the container's root directory, O_PATH */
	HELD_PRESSURE,	    /* key: enum pressure_kind; where the service asks to be warned */
	HELD_PRESSURE_CONN, /* key: the same in the low byte, a number above; who has asked */
	HELD_EXEC_PID,	    /* key: id; the pidfd of an exec without init (shim/exec_alone.c) */
	HELD_SPOOL, /* key: stream, from 0; output that init took into memory (struct spool_state)
		     */
	HELD_KINDS,
};

/* The sockets of a container: keys of HELD_LISTENER, and where a connection came in. */
enum container_socket {
	SOCKET_TOOL,	/* `sock`: packets, the tool's own */
	SOCKET_CONTROL, /* `control`: ttrpc, every method */
	SOCKET_OBSERVE, /* `observe`: ttrpc, what changes nothing */
	SOCKETS,
};

struct held {
	uint32_t kind, pad;
	uint64_t key;
};

struct held_conn {
	uint64_t id;
	int32_t pid; /* SO_PEERCRED at accept */
	uint32_t uid, gid;
	uint32_t socket; /* enum container_socket */
};

struct keeper_hello {
	uint32_t version;
	uint32_t caps;
	int32_t keeper_pid;
	uint32_t revivals; /* shims before this one */
	int32_t launching; /* pid of a launch that was asked for, 0: none */
	uint32_t adopted;  /* 1: this keeper came in at init's door, and this is its first shim */
	uint64_t launch_nonce; /* of the newest launch, 0: none yet */
};

struct launch_req {
	uint64_t nonce; /* the shim's, journalled before */
};

enum launch_outcome {
	LAUNCH_OK,
	LAUNCH_BAD_CONFIG, /* settings or config.json are wrong: status 64 */
	LAUNCH_FAILED,	   /* the host refused a step: status 125 */
	LAUNCH_NOT_FOUND,  /* without init only: the command does not exist: 127 */
	LAUNCH_NOT_EXEC,   /* without init only: it can't be executed: 126 */
};

struct launch_result {
	uint64_t nonce;
	uint32_t outcome;  /* enum launch_outcome */
	int32_t err;	   /* negative errno, 0 when OK */
	int32_t pid;	   /* the container's PID 1, host pid */
	uint32_t warnings; /* count; their text is in `text` when OK, one per line */
	char step[32];	   /* name of the failed step */
	char text[1024];   /* one sentence, ready to print; no newline at the end */
};

enum child_kind { CHILD_SHIM = 1, CHILD_LAUNCH, CHILD_INIT };

struct reaped {
	uint64_t nonce;
	int32_t pid;
	uint32_t kind;	/* enum child_kind */
	int32_t status; /* as of wait(2) */
	uint32_t pad;
	uint64_t boot_usec;
	uint64_t utime_usec, stime_usec, maxrss_kib;
};

/* How the container's newest run ended, for clients and the journal. */
struct exit_info {
	uint64_t seq; /* exit record's */
	uint32_t run;
	uint32_t flags; /* enum exit_flags */
	uint32_t code, signal;
	int32_t errnum;
	uint32_t step;
	uint32_t action, reason; /* enum policy_action, policy_reason */
	uint32_t count;		 /* exits counted into this one */
	uint32_t killed;
	uint64_t delay_usec;
	uint64_t boot_start, boot_end, real_end;
	uint64_t utime_usec, stime_usec, maxrss_kib;
	uint64_t stdout_end, stderr_end; /* stream offsets of the run's last byte */
	uint64_t restarts;
};

struct client_started {
	uint32_t run;
	int32_t pid;	  /* the service's, host pid */
	int32_t init_pid; /* host pid of PID 1; same as pid without init */
	uint32_t warnings;
	char text[1024]; /* warnings, one per line */
};

struct client_state {
	uint32_t state; /* enum life_state of ipc/history.h */
	uint32_t run;
	int32_t pid, init_pid, shim_pid, keeper_pid;
	uint64_t restarts;
	uint64_t boot_started;
	struct exit_info last; /* last.run == 0: none yet */
};

#define STDIN_BYTES_MAX 4096u /* PIPE_BUF: such a write is whole or not there */

struct stdin_frame {
	uint64_t offset; /* of the first byte in the client's stream */
	uint32_t len, pad;
	/* bytes follow */
};

struct winsize_req {
	uint16_t rows, cols, xpixel, ypixel;
};

struct client_progress {
	uint64_t since_usec;
	char text[240]; /* "launch: cgroup", "stop: waiting for 3 processes" */
};

struct init_execed {
	uint32_t id;
	int32_t pid;	/* in the container's pid namespace */
	uint32_t again; /* told before, perhaps to a predecessor */
	uint32_t pad;
};

#define EXEC_COMMAND_MAX 96u

/* The highest bits of an exec's id say who has begun it; those of the tool have neither. */
#define EXEC_IS_API   0x80000000u
#define EXEC_IS_PROBE 0xc0000000u /* as a mask, too */

struct exec_req {
	uint32_t flags;			/* enum exec_plan_flags, for the journal */
	char command[EXEC_COMMAND_MAX]; /* the same: as much of it as fits */
};

struct client_execed {
	uint32_t id;
	int32_t pid; /* host pid */
};

/* How an exec ended. */
struct exec_end {
	uint32_t id;
	uint32_t flags; /* EXIT_START_FAILED, EXIT_INFERRED, EXIT_UNKNOWN */
	uint32_t code, signal;
	uint32_t step; /* EXIT_START_FAILED: enum spawn_step and errno */
	int32_t errnum;
};

/* One row per verb: who may say it, how large it is, what comes along. */
enum verb_from { FROM_SHIM, FROM_INIT, FROM_KEEPER, FROM_LAUNCH, FROM_CLIENT };

struct verb {
	uint16_t id;
	uint8_t from;
	uint8_t fds;
	uint32_t min, max; /* body bytes */
};

/* The row of a packet that `from` may send and whose size and descriptors fit; NULL otherwise. */
const struct verb *verb_check(enum verb_from from, const struct msg *h);
const char *verb_name(uint16_t id); /* "client-stop"; "unknown" */
