/* What `holdfast inspect` says of rules: those that there are, and what each did last. From the
 * state directory alone, so also of a container that has ended. */
#pragma once

#include <stdbool.h>

#include "monitor/rules.h"

struct rule_past {
	unsigned fired, cleared; /* times, as far as the journal goes back */
	uint64_t real_usec;	 /* of what it did last; 0: nothing */
	char did[300];
};

struct rules_past {
	struct rules rules;
	struct rule_past of[RULES_MAX];
};

/* 0 or a fault. */
int rules_past_read(int state_dirfd, struct rules_past *ret);

void rules_past_text(const struct rules_past *p);
void rules_past_json(const struct rules_past *p); /* an array */
