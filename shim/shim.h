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
#include "shim/exec_alone.h"
#include "shim/exec_io.h"
#include "shim/health.h"
#include "shim/journal.h"
#include "shim/life.h"
#include "shim/notify.h"
#include "shim/overload.h"
#include "shim/post_mortem.h"
#include "shim/pressure_feed.h"
#include "shim/pump.h"
#include "shim/serve.h"

struct shim {
	struct loop loop;
	struct settings settings;
	struct cghier hier;
	struct journal journal;
	struct pump pump;
	struct post_mortems post_mortems;
	struct clients clients;
	struct notify notify;
	struct health health;
	struct pressure_feeds pressure;
	struct serve serve;
	struct calls calls;
	struct overload *overload; /* NULL: not yet, or never */
	struct loop_timer overload_timer;
	struct exec_io *exec_ios;
	struct exec_alone *execs_alone;
	struct loop_timer exec_retry;
	int log_dirfd;
	int32_t pid; /* ours */

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
	int rules_held;		   /* the predecessor's state of the rules, -1: none */
	int calls_held;		   /* the predecessor's table, -1: none */
	int sockets[SOCKETS];	   /* a second hold, for the day the keeper dies */
	int listeners[LISTEN_MAX]; /* the service's own; -1: not made */

	/* the sandbox: what the newest launch made */
	struct loop_io init; /* channel to PID 1; fd -1: none */
	struct loop_io bell; /* by which PID 1 says that there is something in it; fd -1: none */
	struct loop_io init_pidfd;
	struct loop_timer reap_timer; /* PID 1 is dead, somebody has yet to reap it and tell */
	uint64_t dead_since;
	int shared_fd;
	struct shared *shared;
	int tty, tty_pipe[2];
	int stdin_fd;
	int spools[LOG_STREAMS];	  /* as held, on their way to the pump; -1: none */
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
		settle_timer, linger_timer, takeover_timer, sync_timer;
	uint64_t fresh_delay_usec;
	uint64_t exits_acked; /* newest exit record that PID 1 was told of as journalled */
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
/* What has been done lately, a start, a takeover, a client's calls, is not soon done again: once it
 * is quiet its pages are given back. */
void shim_settle(struct shim *s);
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
void link_keeper_abort(struct shim *s); /* kills the launch in flight: it has failed */

/* shim/link_init.c */
void link_init_setup(struct shim *s);
void link_init_attach(struct shim *s, int channel);
void link_init_watch(struct shim *s, int pidfd);
bool link_init_drain(struct shim *s); /* handles what waits on the channel; true: more may wait */
int link_init_send(struct shim *s, uint16_t verb, uint64_t tag, const void *body, size_t len);
int link_init_send_fds(struct shim *s, uint16_t verb, uint64_t tag, const void *body, size_t len,
	const int *fds, size_t nfds);
/* For whoever adopts the container, should keeper and shim die together: init holds a copy. */
void link_init_keep(struct shim *s, enum held_kind kind, uint64_t key, int fd);
void link_init_unkeep(struct shim *s, enum held_kind kind, uint64_t key);
void link_init_keep_edge(struct shim *s);  /* all that there is now */
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
void output_spools(
	struct shim *s); /* all that is held is here: what init kept in memory goes first */

/* shim/exits.c */
/* Takes new records out of the ring, up to a sequence and a run: a start is told before its end. */
void exits_read(struct shim *s, uint64_t upto, uint32_t before_run);
#define EXITS_ALL UINT64_MAX, UINT32_MAX
bool exits_behind(const struct shim *s); /* there are some to be taken */
void exits_decide(struct shim *s);	 /* PID 1 is gone without a verdict */
void exits_launch_failed(struct shim *s);
/* A slot of the ring: 0, or 1 when it is not that of the sequence. */
int exits_ring_read(const struct shim *s, uint64_t seq, struct exit_record *r);

/* shim/asks.c: false: too many are on their way, or a predecessor's come first */
bool asks_begin(struct shim *s, uint64_t asked);
void asks_end(struct shim *s, uint64_t asked);

/* shim/execs.c */
void execs_ask(struct client *c, const struct packet *p);
void execs_wait(struct client *c, const struct packet *p);
void execs_begun(struct shim *s, const struct packet *p);
void execs_ended(struct shim *s, const struct exit_record *r, const struct exit_info *e);
bool execs_known(const struct shim *s, uint32_t id);   /* it was begun, and is remembered */
bool execs_goes_on(const struct shim *s, uint32_t id); /* or is about to be begun */
int execs_end(const struct shim *s, uint32_t id, struct exec_end *ret); /* 0: it goes on; 1 */
void execs_lost(struct shim *s); /* PID 1 is gone, and with it those whose end it has not told */

/* shim/stop.c */
void stop_setup(struct shim *s);
void stop_begin(struct shim *s, struct stop_req req, uint16_t why);
/* That stop is under way: journalled, and passed on (shim/recover.c sees to that). */
bool stop_was_asked(const struct shim *s, struct stop_req req);
bool stop_signal_was_asked(const struct shim *s, uint32_t signo);
void stop_pass_on(struct shim *s);
void restart_note(struct shim *s, struct stop_req req); /* journals who ends this run */
/* A request for SIGKILL or the stop signal means that it shall end, not that it shall restart. */
bool stop_means(const struct shim *s, uint32_t signo);
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

/* shim/pause.c: 0 (it was so, or is now) or a fault */
int pause_begin(struct shim *s);
int pause_end(struct shim *s);
void pause_thaw(struct shim *s);    /* something inside is asked for an answer */
void pause_recover(struct shim *s); /* a new shim: the group is made as the journal says */

/* shim/retire.c */
void retire_setup(struct shim *s);
void clean_begin(struct shim *s);
void clean_kill(struct shim *s); /* everything in the cgroup, if that is the container's */
void retire_begin(struct shim *s);
void retire_remove(struct shim *s); /* asked for by somebody: stop it, take everything away */
void retire_check(struct shim *s);  /* something that the end waits for has changed */
/* At the very beginning: did a predecessor die while it removed all? Then the rest is done. */
bool retire_finish(const char *id);

/* shim/takeover.c: the keeper is dead, make another */
void takeover_setup(struct shim *s);
void takeover_begin(struct shim *s);
/* What the sandbox has at its edge, and init has no use for: an fd of -1 is not there. */
typedef int (*held_each)(void *ctx, enum held_kind kind, uint64_t key, int fd);
int takeover_each_edge(struct shim *s, held_each one, void *ctx);
