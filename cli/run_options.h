/* The options of `holdfast run`, as one struct. */
#pragma once

#include "cli/files.h"
#include "cli/spec.h"
#include "ipc/cghier.h"
#include "ipc/health.h"
#include "ipc/listen.h"
#include "ipc/settings.h"
#include "monitor/rules.h"

enum pressure_watch { WATCH_AUTO, WATCH_ON, WATCH_OFF };

struct run {
	struct settings settings; /* magic, size and id come later */
	struct spec spec;
	struct files files;
	const char *name; /* NULL: random */
	const char *cgroup;
	const char *detach_keys;       /* NULL: the usual */
	const char *log_dir;	       /* NULL: the usual */
	const char *knob;	       /* the last --restart-* option, NULL: none */
	const char *oom;	       /* as the user wrote it, NULL: not */
	const char *delay, *max_delay; /* the same */
	bool detach, tty, interactive, remove;
	bool create; /* `create`: set by the caller */
	bool notify;
	struct listen_addr listeners[LISTEN_MAX];
	unsigned listener_count;
	struct rules rules;
	uint32_t rules_of_set;	  /* bit n: the rule came with --preset */
	char rules_left_out[400]; /* of those, what can't work here, and why */
	bool print_rules;
	bool restart; /* --restart was given */
	bool retries; /* the budget is that of --restart on-failure:N */
	struct health_conf health;
	struct probe_conf docker;     /* --health-cmd; words 0: none */
	const char *docker_knob;      /* the last other --health-* option, NULL: none */
	const char *restarting_probe; /* the last one that does, NULL: none */
	enum pressure_watch pressure_watch;
	bool healthy_given;
};

enum run_outcome { RUN_OK, RUN_HELP };

/* Reads argv and checks all that can be checked without looking at the host. An outcome, or a fault
 * whose text is for the user. */
int run_parse(struct run *run, int argc, char **argv);
void run_finish(struct run *run);

/* Leaves out the default limits that this host can't keep; true when it did. */
bool run_degrade(struct run *run, const struct cghier *h);
