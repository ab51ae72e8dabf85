/* The options of `holdfast run` about rules. ctx of each setter is struct run. */
#pragma once

#include "cli/options.h"
#include "ipc/cghier.h"
#include "monitor/rule_check.h"

struct run;

int opt_rule(void *ctx, const struct option *o, const char *value);
int opt_preset(void *ctx, const struct option *o, const char *value);

/* An outcome of rules_check(), or a fault that names the first rule that can't work with these
 * limits or on this host. One that came with a set is left out, and told in run->rules_left_out. */
int opt_rules_check(struct run *run, const struct cghier *h);

void opt_rules_print(const struct run *run);
