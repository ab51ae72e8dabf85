/* The monitor at work: samples, rules, actions. What the rules know and what they are doing stands
 * in a memfd that the keeper holds, in two slots of which one counts: a turn is computed into the
 * other, which then counts at once, with the list of what it asks for and how much of that is done.
 * So a shim may die anywhere: its successor does what is left, and each action is such that doing
 * it twice does it once. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/base/loop.h"
#include "ipc/base/proc.h"
#include "ipc/proto/holdfast/v1/supervisor.pb-c.h"
#include "ipc/record.h"
#include "monitor/cglimit.h"
#include "monitor/pressure_log.h"
#include "monitor/rule_text.h"
#include "monitor/rules.h"
#include "monitor/sense.h"

#define OVERLOAD_RESTARTS POLICY_BUDGET_MAX

struct overload_slot {
	uint64_t first; /* number of the first act; from 1, never used again */
	uint32_t len, done;
	struct rule_act acts[RULE_ACTS_MAX];
	struct rules_state state;
};

/* Fixed size, one program's: of another size or other rules it is not believed. */
struct overload_mem {
	uint64_t magic;
	uint32_t size, version;
	uint64_t rules_sum;
	uint32_t current; /* the slot that counts */
	uint32_t stale;	  /* 1: what rules of a former set have changed is still to be undone */
	uint64_t high_nonce, high_was;	      /* memory.high of that launch's group */
	uint64_t frozen_until;		      /* monotonic; 0: not frozen by a rule */
	uint64_t restarts[OVERLOAD_RESTARTS]; /* monotonic, of those by rule */
	uint32_t restarts_next, restarts_len;
	uint64_t kill_due; /* monotonic: this run is killed the hard way; 0: not asked for */
	uint32_t kill_run;
	uint64_t throttle_nonce; /* whose group is throttled, 0: none */
	uint32_t throttle_rule;
	char slots[2 * sizeof(struct overload_slot)] __attribute__((aligned(8)));
	struct cglimit_undo undo; /* what throttling has changed */
	char boot_id[BOOT_ID_LEN + 1];
	uint32_t renew; /* 1: all begins anew, should the rules be the same */
	uint32_t ending_len;
	uint64_t ending_of;		   /* rules_sum of those that these are about */
	struct rec_rule ending[RULES_MAX]; /* ladders; told once other rules are in force */
};

struct overload {
	struct overload_mem *mem;
	int fd; /* of mem */
	struct sense sense;
	struct loop_io woken;
	struct loop_timer timer;
	uint64_t nonce; /* the launch whose group sense looks at, 0: none */
	uint64_t seen_nonce;
	uint32_t seen_run, seen_state;
	bool awake, said;
	bool failing;	      /* health */
	uint64_t watchdog;    /* missed */
	uint64_t quiet_since; /* monotonic: nothing to look at, since */
	struct pressure_log past;
	struct rules rules; /* last: as many as there are */
};

/* Slots are as large as the rules need, and side by side: pages that are touched are memory. */
static inline size_t overload_slot_size(const struct rules *r)
{
	return offsetof(struct overload_slot, state) + rules_state_size(r);
}

static inline struct overload_slot *overload_slot(const struct overload *o, unsigned i)
{
	return (struct overload_slot *)(void *)(o->mem->slots + i * overload_slot_size(&o->rules));
}

struct shim;

/* When all that is held is here, and before anything is recovered. No rules, nothing is made. */
int overload_setup(struct shim *s);
void overload_finish(struct shim *s);

/* The container is, or may be, in another state than it was. Cheap, and callable anywhere. */
void overload_changed(struct shim *s);
/* Limits are about to be changed: all that rules have changed is put back first. */
void overload_limits_change(struct shim *s);

/* Other rules stand in the state directory: they are in force from now on. What the former ones
 * have changed is undone, and their restarts count on. */
void overload_replace(struct shim *s);
/* Before they stand there: whoever finds them tells of the ladders that end with the former ones.
 */
void overload_ending(struct shim *s);

/* Nothing that a rule has frozen stands still any more, or by somebody else's word now. */
void overload_thawed(struct shim *s);
/* A run is about to be ended, by whomever: what rules have taken from it is given back. */
void overload_undo(struct shim *s);

/* What the kernel does not tell. */
void overload_health(struct shim *s, bool failing);
void overload_watchdog(struct shim *s); /* one more was missed */
void overload_flood(struct shim *s);	/* much was written */

/* shim/serve_rules.c: for GetState. What it points to is its own. */
struct overload_msg {
	unsigned len;
	Holdfast__V1__RuleState *list[RULES_MAX];
	struct overload_rule_msg {
		Holdfast__V1__RuleState m;
		char text[RULE_TEXT_MAX], value[40];
	} rule[RULES_MAX];
};

void overload_state(struct shim *s, struct overload_msg *ret);

/* Of an Update: a whole set, checked and not yet in force. */
struct overload_change {
	struct rules rules; /* none: those that only report */
	char left_out[400]; /* of sets: what can't work here, and why */
	char names[300];    /* for people; cut, should they be many */
};

/* *ret is the caller's to free. 0 or a fault. `limits` are changed by the same request. */
int overload_take(struct shim *s, const Holdfast__V1__RuleSet *set,
	const struct changed_limits *limits, struct overload_change **ret);
/* Puts it into the state directory, or takes it out again: 0 or a fault. */
int overload_store(const struct overload_change *c);
int overload_restore(const struct shim *s);

/* init's word on what was asked of it under a tag of ours. */
void overload_answered(struct shim *s, uint64_t tag, int err);

/* shim/overload_past.c: this sample for people (monitor/pressure_log.h) */
bool overload_note_due(const struct shim *s);
void overload_note(struct shim *s, const struct sample *in, bool near);

/* shim/overload_act.c */
void overload_carry_out(struct shim *s); /* what the current slot asks for and is not done */
void overload_finish_kill(struct shim *s, uint64_t now);
void overload_end(struct shim *s); /* what the former rules were doing, for good */
