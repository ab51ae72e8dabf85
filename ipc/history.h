/* A container's life as its journal tells it: records folded, one by one, into where it stands now.
 * history_apply is pure. Used by the shim to recover and by the client where no shim is alive. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/record.h"

enum life_state {
	LIFE_NEW,	/* created, nothing launched yet */
	LIFE_LAUNCHING, /* a launch is in flight */
	LIFE_LAUNCHED,	/* the sandbox stands, the service not yet */
	LIFE_RUNNING,
	LIFE_BACKOFF, /* between two runs */
	LIFE_STOPPING,
	LIFE_DOWN, /* ended for good; sandbox torn down */
	LIFE_REMOVED,
	LIFE_STATES,
};

/* The newest request to end a run. */
struct asked {
	uint32_t what; /* verb id: CLIENT_STOP, CLIENT_RESTART, CLIENT_SIGNAL, CLIENT_REMOVE */
	uint32_t run;  /* which run it was for */
};

/* The newest run that was ended for its health, and for what. */
struct unhealthy {
	uint32_t run;	 /* 0: none */
	uint32_t source; /* enum health_source */
	uint32_t kind;	 /* enum probe_kind */
	uint32_t signo;
	uint64_t grace_usec;
	char text[HEALTH_TEXT];
};

/* What a rule did last to end a run. */
struct rule_end {
	uint32_t run; /* 0: none did */
	uint32_t action;
	char rule[32];
	char why[96];
};

struct history {
	enum life_state state;
	uint64_t seq; /* newest record */
	uint32_t run;
	int32_t pid, init_pid;
	uint64_t init_starttime;
	uint64_t launch_nonce;
	char cgroup[256];     /* of the newest launch; empty: none to clean up */
	uint32_t cgroup_kept; /* its leading components that are not ours */
	uint64_t real_created, real_started, boot_started;
	uint64_t restarts;
	uint64_t exit_seq; /* newest exit record journalled */
	uint32_t shim_revivals;
	bool stopping;	       /* a stop was asked for and has not ended */
	struct stop_req stop;  /* as it was asked for */
	struct exit_info last; /* last.run == 0: none */
	char boot_id[BOOT_ID_LEN + 1];
	bool opened;	 /* by `start`: a start that fails removes nothing */
	bool up_once;	 /* the service ran since it was created or opened */
	bool restarting; /* the restart verb ends this run; another follows whatever the policy says
			  */
	uint32_t ready_run; /* the newest run that said it was ready */
	struct asked asked;
	bool paused;	     /* everything in it stands still */
	bool removing;	     /* everything goes once it is down */
	uint64_t rule_act;   /* newest act of a rule that is written down */
	uint32_t rule_noted; /* which record of it: enum record_type */
	struct rule_end rule_end;
	uint32_t rules_on; /* how many rules have fired and are not over */
	struct unhealthy unhealthy;
	uint32_t exit_count; /* exits in that of exit_seq, when it was read; 0: not known */
};

void history_init(struct history *h);
void history_apply(struct history *h, const struct record *r);

/* Folds the journal of a state directory. Missing journal: -ENOENT. *end is where the next record
 * goes (may be NULL). 0 or a fault. Damage is not a fault: the intact prefix counts. */
int history_read(int state_dirfd, struct history *ret, uint64_t *end);

const char *life_name(enum life_state s); /* "running", "exited", … as docker's users know them */

/* The status that `run` and `wait` return for how it ended: the code, 128+n, 125 (unknown), 126,
 * 127. */
int exit_status(const struct exit_info *e);
