/* The restart policy: a pure function over fixed structs. init applies it; the shim applies the
 * same code to the same state when init itself has died or the container has none. The state lives
 * in the shared memory (ipc/shared.h), so no crash is a way around the budget. libc-neutral, no
 * I/O. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define POLICY_BUDGET_MAX 256 /* largest N of "N restarts in T" */
/* That of on-failure:N: N restarts, whenever they happen. It outlives the host. */
#define POLICY_RETRIES_WINDOW (366ULL * 24 * 3600 * 1000000)

enum restart_kind {
	RESTART_NO,
	RESTART_ON_FAILURE,
	RESTART_ALWAYS,
	RESTART_UNLESS_STOPPED, /* differs from always only at boot and adopt */
};

enum restart_mode { RESTART_AUTO, RESTART_IN_PLACE, RESTART_FRESH };

/* What an OOM kill inside the container means (systemd's OOMPolicy= words, plus restart). */
enum oom_policy {
	OOM_CONTINUE, /* an event; the rest runs on unless the service itself died */
	OOM_STOP,     /* everything is killed and the container stays down */
	OOM_RESTART,  /* everything is killed at once, then the restart policy decides */
};

enum budget_action {
	BUDGET_STOP, /* stay down with the service's last status */
	BUDGET_SLOW, /* go on, with max_delay between restarts */
};

struct policy_conf {
	uint32_t kind;		 /* enum restart_kind */
	uint32_t mode;		 /* enum restart_mode */
	uint32_t oom;		 /* enum oom_policy */
	uint32_t on_budget;	 /* enum budget_action */
	uint64_t delay_usec;	 /* before the second restart in a row; the first is at once */
	uint64_t max_delay_usec; /* cap of the growing delay */
	uint32_t factor_pct;	 /* growth per restart in a row, 100..1000; 200 doubles */
	uint32_t jitter_pct;	 /* 0..50: each delay is spread by plus or minus this share */
	uint64_t healthy_usec; /* alive this long (or READY=1): a healthy run, the delay starts over
				*/
	uint64_t budget_window_usec;
	uint32_t budget_n;     /* 0: no budget; at most POLICY_BUDGET_MAX */
	uint32_t in_place_max; /* auto: this many unhealthy restarts in place, then one fresh (3) */
	uint64_t success_signals;  /* bit n-1: death by signal n counts as success */
	uint8_t success_codes[32]; /* bit n: exit code n counts as success; 0 always does */
};

struct policy_state {
	uint32_t down;	     /* desired = down: no policy acts any more */
	uint32_t streak;     /* restarts since the last healthy run */
	uint32_t in_place;   /* unhealthy restarts in place since the last fresh start */
	uint32_t exhausted;  /* the budget has run out (kept for the message) */
	uint64_t restarts;   /* all restarts of this container */
	uint64_t rng;	     /* xorshift state, never 0 after policy_init */
	uint32_t times_len;  /* valid entries of times */
	uint32_t times_next; /* where the next one goes */
	uint64_t times[POLICY_BUDGET_MAX]; /* monotonic usec of the newest restarts */
};

#define POLICY_FAILED 256u /* a code that no process has and that is never a success */

struct policy_exit {
	uint32_t code;	   /* exit code if signal == 0 */
	uint32_t signal;   /* terminating signal or 0 */
	bool oom;	   /* an OOM kill hit the container during this run */
	bool healthy;	   /* the run became healthy */
	bool rebooted;	   /* decided at boot or adopt, not at the exit */
	uint64_t now_usec; /* monotonic */
};

enum policy_action { POLICY_STAY_DOWN, POLICY_IN_PLACE, POLICY_START_FRESH };

enum policy_reason {
	POLICY_WHY_STOPPED, /* desired = down */
	POLICY_WHY_KIND,    /* the policy does not restart after this exit */
	POLICY_WHY_OOM_STOP,
	POLICY_WHY_BUDGET,
	POLICY_WHY_RESTART,
	POLICY_WHY_UNHEALTHY, /* restart, fresh because in place never became healthy */
};

struct policy_verdict {
	uint32_t action; /* enum policy_action */
	uint32_t reason; /* enum policy_reason */
	uint64_t delay_usec;
};

/* The documented defaults (architecture: first restart at once, 100 ms doubling to 60 s, 10 %). */
void policy_defaults(struct policy_conf *conf);

/* seed may be anything; 0 is replaced. */
void policy_init(struct policy_state *state, uint64_t seed);

/* Did this exit count as success? 0 and every listed code or signal. */
bool policy_success(const struct policy_conf *conf, const struct policy_exit *e);

/* Decides and advances state (counters, budget, delay). In mode auto the caller may still turn
 * POLICY_IN_PLACE into a fresh start when the sandbox is not clean: policy_went_fresh(). */
struct policy_verdict policy_decide(
	const struct policy_conf *conf, struct policy_state *state, const struct policy_exit *e);

/* A fresh start happens now, for whatever reason: the in-place count starts over. */
void policy_went_fresh(struct policy_state *state);
