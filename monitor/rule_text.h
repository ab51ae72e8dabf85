/* Rules as people write them, one a line:
 *
 *   NAME: SIGNAL > VALUE [over TIME] [for TIME]: STEP[, PAUSE, STEP]...[; cooldown TIME]
 *         [; clear VALUE][; limit N/TIME]
 *
 *   leak: memory.usage > 90% for 5s: notify(USR1), 10s, throttle, 20s, restart; cooldown 1m
 */
#pragma once

#include <stddef.h>

#include "monitor/rules.h"

#define RULE_TEXT_MAX 1024u

/* 0, or -EINVAL with a fault that names the rule, the word and the cure. `name` is how the user
 * calls the whole ("--rule"). */
int rule_parse(const char *name, const char *text, struct rule *ret);

/* Complete: every default written out. rule_parse() takes it back. */
void rule_print(const struct rule *r, char *buf, size_t size);

/* "memory.usage was 83.5%, above 80% for 1s" */
void rule_why(const struct rule *r, uint64_t value, char *buf, size_t size);
void rule_step_text(const struct rule *r, unsigned step, char *buf, size_t size);

/* The file `rules` in a state directory: a line each. 0, the count, or a fault. None (also NULL),
 * or those that only report: no file. */
int rules_write(int state_dirfd, const struct rules *r);
int rules_read(int state_dirfd, struct rules *ret);

/* Adds one; -EINVAL when there is one of that name already, or too many. */
int rules_add(const char *name, struct rules *r, const struct rule *one);

/* A named set, all of its rules: 0, or -EINVAL with the names that there are. */
int rules_preset(const char *name, const char *preset, struct rules *r);
