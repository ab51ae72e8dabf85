/* Which containers `holdfast ps` shows. */
#pragma once

#include <stdbool.h>

#include "cli/options.h"
#include "cli/spec.h"
#include "cli/state.h"

/* Of each kind one must fit; of the labels all. */
struct ps_filter {
	struct spec_list states, names, labels; /* const char * */
	struct spec_list exits;			/* int */
	struct spec_list healths;		/* uint32_t, enum health_verdict */
};

/* What is known of a container. */
struct ps_known {
	const struct state *state;
	const struct history *now;
	const char *name_of_state;
	uint32_t health; /* enum health_verdict */
};

/* Setter of --filter; ctx: struct ps_filter at o->at. */
int ps_filter_add(void *ctx, const struct option *o, const char *value);
void ps_filter_finish(struct ps_filter *f);

bool ps_filter_fits(const struct ps_filter *f, const struct ps_known *k);

/* It asks for what has ended. */
bool ps_filter_ended(const struct ps_filter *f);
