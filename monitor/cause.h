/* What ended a run, in one sentence, and who wanted it. Pure. */
#pragma once

#include "ipc/history.h"

struct cause {
	char text[192];
	char by[48]; /* empty: nobody did */
};

/* What is known of an end. */
struct ending {
	struct exit_info e;
	struct asked asked;
	struct rule_end rule;	    /* run: e.run, if a rule ended it */
	struct unhealthy unhealthy; /* run: e.run, if it was ended for its health */
};

void cause_of(struct cause *ret, const struct ending *end);
