/* Rules: when a signal stays above a threshold for some time, a ladder of actions is climbed, with
 * pauses, until the signal is at or below a lower threshold or the ladder ends. Pure: everything
 * that a decision depends on stands in struct rules_state, which outlives the process that works
 * with it, so whoever goes on with it decides the same. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "monitor/signals.h"

#define RULES_MAX     16u
#define RULE_STEPS    8u
#define RULE_NAME_MAX 31u
#define RULE_LIMIT_N  16u /* of "limit N/TIME" */
#define RULE_HOOK_MAX 127u

enum rule_action {
	ACTION_EVENT = 1, /* nothing more than the record that each step leaves */
	ACTION_NOTIFY,	  /* arg: signal to the service, 0: none */
	ACTION_THROTTLE,  /* arg: percent of what it may use now */
	ACTION_FREEZE,	  /* arg: usec */
	ACTION_DUMP,	  /* arg: 1 with the rule's hook */
	ACTION_RESTART,	  /* arg: grace, usec; RULE_GRACE_STD: the container's */
	ACTION_STOP,	  /* the same */
	ACTION_KILL,	  /* everything; the restart policy decides what follows */
	ACTIONS,
};

#define RULE_GRACE_STD UINT64_MAX

struct rule_step {
	uint32_t action; /* enum rule_action */
	uint32_t pad;
	uint64_t arg;
	uint64_t pause_usec; /* after the step before it */
};

struct rule {
	char name[RULE_NAME_MAX + 1];
	uint32_t signal; /* enum rule_signal */
	bool or_equal;	 /* >=, else > */
	uint8_t steps_len;
	uint64_t threshold;
	uint64_t clear; /* at or below it is over */
	uint64_t window_usec;
	uint64_t for_usec;
	uint64_t cooldown_usec; /* between the end of one ladder and the beginning of the next */
	uint32_t limit_n;	/* 0: as often as it likes */
	uint32_t pad;
	uint64_t limit_usec;
	struct rule_step steps[RULE_STEPS];
	char hook[RULE_HOOK_MAX + 1]; /* of dump; empty: none */
};

struct rules {
	unsigned len;
	bool observe; /* nobody has stated any: these only report */
	struct rule rule[RULES_MAX];
};

enum rule_phase {
	RULE_QUIET,
	RULE_PENDING, /* above, not yet for long enough */
	RULE_ACTIVE,  /* on the ladder */
	RULE_SPENT,   /* at its end, and still above */
};

struct rule_state {
	uint32_t phase; /* enum rule_phase */
	uint32_t step;	/* the next one */
	uint64_t since; /* above since; monotonic, as all times here */
	uint64_t due;	/* RULE_ACTIVE: of the next step */
	uint64_t ready; /* the cooldown is over */
	uint64_t value; /* the newest */
	uint64_t fired; /* times */
	uint32_t times_len, times_next;
	uint64_t times[RULE_LIMIT_N]; /* of the newest ladders */
	struct window window;
};

struct rules_state {
	uint64_t seen;	/* the newest instant; time never goes back */
	uint32_t run;	/* whose conditions these are */
	uint32_t known; /* bit n: the rule's value was there last time */
	struct rule_state rule[RULES_MAX];
};

enum rule_did {
	RULE_FIRED,   /* the condition has held for long enough */
	RULE_STEP,    /* do this */
	RULE_CLEARED, /* undo what holds only as long as the rule does */
	RULE_HELD,    /* it would fire, and its limit is reached */
};

struct rule_act {
	uint8_t did;  /* enum rule_did */
	uint8_t rule; /* index */
	uint8_t step; /* RULE_STEP: index */
	uint64_t value, since;
};

/* Of one call: rules that find no room any more have their turn in the next. */
#define RULE_ACTS_MAX (RULES_MAX + RULE_STEPS + 2)

/* Of those that there are. */
static inline size_t rules_size(const struct rules *r)
{
	return offsetof(struct rules, rule) + r->len * sizeof(r->rule[0]);
}

static inline size_t rules_state_size(const struct rules *r)
{
	return offsetof(struct rules_state, rule) + r->len * sizeof(struct rule_state);
}

void rules_state_init(struct rules_state *s);

/* Takes a sample in and tells what is to be done, in that order: how many of ret. */
unsigned rules_step(const struct rules *r, struct rules_state *s, const struct sample *in,
	uint64_t now, struct rule_act ret[RULE_ACTS_MAX]);

/* Some rule waits for time to pass, is not yet sure, or is near to: samples are wanted. */
bool rules_awake(const struct rules *r, const struct rules_state *s);

/* It has begun to act, and its condition is not over. */
bool rule_on_ladder(const struct rule *r, const struct rule_state *s);

const char *rule_action_name(enum rule_action a);
bool rule_action_ends(enum rule_action a); /* the run: no step follows it */
