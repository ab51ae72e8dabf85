/* The supervisor of one container. It creates nothing that must survive it, and may die between any
 * two of its system calls: what it does next is always computed from the journal, the shared memory
 * and the kernel. */
#pragma once

#include <stdbool.h>

#include "ipc/base/loop.h"
#include "ipc/cghier.h"
#include "ipc/listen.h"
#include "ipc/settings.h"
#include "ipc/verbs.h"
#include "shim/clients.h"
#include "shim/journal.h"
#include "shim/life.h"
#include "shim/notify.h"
#include "shim/pump.h"
#include "shim/serve.h"

struct shim {
	struct loop loop;
	struct settings settings;
	struct cghier hier;
	struct journal journal;
	struct pump pump;
	struct clients clients;
	struct notify notify;
	struct serve serve;
	struct calls calls;
	int log_dirfd;

	enum life_phase phase;
	enum life_event queue[8]; /* events raised by actions, handled when those are done */
	unsigned queued;
	bool in_event;

	/* the keeper */
	struct loop_io keeper; /* channel */
	struct keeper_hello hello;
	struct {
		struct held_conn peer;
		int fd;
	} early[CALLS_CONNS_MAX]; /* connections that were told before the table of their calls */
	unsigned early_len;
	int calls_held;		   /* the predecessor's table, -1: none */
	int sockets[SOCKETS];	   /* a second hold, for the day the keeper dies */
	int listeners[LISTEN_MAX]; /* the service's own; -1: not made */

	/* the sandbox: what the newest launch made */
	struct loop_io init; /* channel to PID 1; fd -1: none */
	struct loop_io init_pidfd;
	struct loop_timer reap_timer; /* PID 1 is dead, somebody has yet to reap it and tell */
	uint64_t dead_since;
	int shared_fd;
	struct shared *shared;
	int tty, tty_pipe[2];
	int stdin_fd;
	uint64_t sync_tag;		  /* of the INIT_SYNC that init has not answered, 0: none */
	struct init_started sync_started; /* the newest start heard of meanwhile; run 0: none */
	int sync_pidfd;
	uint64_t dropped_seen; /* doorbells that the channel had not taken when we last synchronised
				*/
	struct launch_result launched; /* the newest, for its warnings */
	int32_t service_pid;	       /* host pid, 0: none */
	uint64_t launch_nonce;
	bool init_is_keepers; /* PID 1 is the keeper's child: it will tell the status */
	int start_errno;      /* --init none: why the service never came to be */
	uint32_t start_step;  /* enum spawn_step */
	bool init_exited;     /* its status is in init_end when init_status_known */
	bool init_status_known;
	struct reaped init_end;

	/* timers and what they wait for */
	struct loop_timer fresh_timer, clean_timer, stop_timer, progress_timer, retire_timer,
		linger_timer, takeover_timer, sync_timer;
	uint64_t fresh_delay_usec;
	uint64_t clean_since, phase_since;
	uint64_t stop_tag; /* of the INIT_STOP that init has not answered, 0: none */
	struct stop_req stop;

	bool first_failed; /* the first run never started: nothing of the container is kept */
	struct exit_info first_failure;
	bool remove; /* take logs and state away at the end */
	bool retiring, retired;
};

/* shim/shim.c: the engine */
int shim_init(struct shim *s, const char *id);
void shim_event(struct shim *s, enum life_event e);
void shim_set_phase(struct shim *s, enum life_phase phase);
bool shim_has_init(const struct shim *s); /* ours is PID 1 (not --init none) */
bool shim_ready(const struct shim *s);	  /* the present run has said so */
void shim_announce_ready(struct shim *s);
void shim_started_info(const struct shim *s, struct client_started *ret);

/* shim/recover.c: where a new shim finds things */
int shim_recover(struct shim *s);

/* shim/link_keeper.c */
int link_keeper_sync(struct shim *s, int channel); /* takes HELLO and all held descriptors */
int link_keeper_send(struct shim *s, uint16_t verb, const void *body, size_t len, int fd);
void link_keeper_hold(struct shim *s, enum held_kind kind, uint64_t key, int fd);
void link_keeper_drop(struct shim *s, enum held_kind kind, uint64_t key);

/* shim/link_init.c */
void link_init_setup(struct shim *s);
void link_init_attach(struct shim *s, int channel);
void link_init_watch(struct shim *s, int pidfd);
bool link_init_drain(struct shim *s); /* handles what waits on the channel; true: more may wait */
int link_init_send(struct shim *s, uint16_t verb, uint64_t tag, const void *body, size_t len);
void link_init_service_up(struct shim *s); /* --init none */
void link_init_ended(struct shim *s);
void link_init_terminal(struct shim *s); /* the terminal's output goes on (a new shim) */
void link_init_forget(struct shim *s);
void link_init_sync(struct shim *s);	      /* hear everything again, in order */
bool link_init_missed(const struct shim *s);  /* init rang, and the channel was full */
void link_init_catch_up(struct shim *s);      /* if so, synchronises soon */
int link_init_map(struct shim *s, int memfd); /* takes over memfd */

/* shim/output.c */
void output_held(struct shim *s, enum log_stream stream, uint64_t key, int fd);
void output_pipe(struct shim *s, enum log_stream stream, uint32_t run, int fd);
void output_changed(struct pump *p, void *shim);
void output_settle(struct shim *s);

/* shim/exits.c */
/* Takes new records out of the ring, up to a sequence and a run: a start is told before its end. */
void exits_read(struct shim *s, uint64_t upto, uint32_t before_run);
#define EXITS_ALL UINT64_MAX, UINT32_MAX
void exits_decide(struct shim *s); /* PID 1 is gone without a verdict */
void exits_launch_failed(struct shim *s);

/* shim/stop.c */
void stop_setup(struct shim *s);
void stop_begin(struct shim *s, struct stop_req req, uint16_t why);
void stop_pass_on(struct shim *s);
#define STOP_ASKED 1 /* init was asked; its answer comes with the tag */
int stop_signal(struct shim *s, struct signal_req req, uint64_t tag); /* 0, STOP_ASKED, -errno */
void restart_without_init(struct shim *s, struct stop_req req);

/* shim/pidfile.c */
void pidfile_write(struct shim *s);
void pidfile_remove(struct shim *s);

/* shim/listeners.c: the service's own, held for the day the keeper dies */
void listeners_init(struct shim *s);
void listeners_held(struct shim *s, uint64_t key, int fd);
void listeners_close(struct shim *s); /* for good, socket files included; may come twice */

/* shim/retire.c */
void retire_setup(struct shim *s);
void clean_begin(struct shim *s);
void clean_kill(struct shim *s); /* everything in the cgroup, if that is the container's */
void retire_begin(struct shim *s);
void retire_check(struct shim *s); /* something that the end waits for has changed */

/* shim/takeover.c: the keeper is dead, make another */
void takeover_setup(struct shim *s);
void takeover_begin(struct shim *s);
