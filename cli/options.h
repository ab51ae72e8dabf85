/* Command lines from tables: one row per option says its names, its argument, its help and who
 * takes the value. `--help` is made of the same rows. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct option {
	const char *name; /* long, without dashes */
	char letter;	  /* short, 0: none */
	const char *arg;  /* name of its argument, NULL: a flag */
	const char *help;
	/* 0, or a fault whose text begins with what the user wrote */
	int (*set)(void *ctx, const struct option *o, const char *value);
	size_t at; /* offset in ctx, for the setters below */
};

struct option_table {
	const char *usage; /* "holdfast run [options] CMD..." */
	const char *about; /* one paragraph */
	const struct option *rows;
	size_t len;
	bool mixed; /* options may stand behind operands */
};

enum options_outcome { OPTIONS_OK, OPTIONS_HELP /* printed */ };

/* Applies the options of argv (argv[0] is skipped) to ctx. Operands are argv[*first] ..
 * argv[argc-1] afterwards (argv is permuted when mixed). An outcome, or a fault. */
int options_parse(const struct option_table *t, void *ctx, int argc, char **argv, int *first);

/* From now on options_parse() prints its table for completion instead, a line "--name TAB arg TAB
 * help" for each option, and says OPTIONS_HELP. */
void options_list_only(void);

/* Setters for plain fields at o->at of ctx. */
int option_flag(void *ctx, const struct option *o, const char *value);	   /* bool */
int option_text(void *ctx, const struct option *o, const char *value);	   /* const char * */
int option_duration(void *ctx, const struct option *o, const char *value); /* uint64_t usec */
int option_size(void *ctx, const struct option *o, const char *value);	   /* uint64_t bytes */
int option_cpus(void *ctx, const struct option *o, const char *value); /* uint64_t thousandths */
int option_keys(
	void *ctx, const struct option *o, const char *value); /* const char *: cli/keys.h */
int option_signal(void *ctx, const struct option *o, const char *value); /* uint32_t */

/* -EINVAL with the fault text `--NAME "VALUE": WHAT`. */
int option_bad(const struct option *o, const char *value, const char *what);

/* -EINVAL: a command that takes no operands got one. */
int options_excess(const char *command, const char *operand);

/* "--NAME", in a static buffer. */
const char *option_shown(const struct option *o);
