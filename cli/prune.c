/* prune: rm for every container that has ended for good. What runs, waits for its next run, or was
 * created and never started stays; so does one that nobody supervises and whose service may run. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/command.h"
#include "cli/control.h"
#include "ipc/base/fault.h"
#include "ipc/base/mem.h"

static const struct option rows[] = {
	{"force", 'f', NULL, "accepted; nothing is asked in any case", option_flag,
		offsetof(struct control, force)},
};

static bool has_ended(const struct state *s)
{
	struct history h;
	bool stale;

	if (state_history(s, &h, &stale) < 0)
		return false; /* damaged: rm -f is the way, one by one */
	return h.state == LIFE_DOWN || (stale && h.state != LIFE_NEW);
}

/* 0, or a fault; one that is gone or started again meanwhile is none. */
static int prune_one(const char *id)
{
	struct state s;
	int r = state_open(id, &s);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (has_ended(&s)) {
		r = control_remove(&s, false);
		if (r == 0)
			printf("%s\n", id);
		else if (r == -EBUSY)
			r = 0;
	}
	state_close(&s);
	return r;
}

static int prune_all(void)
{
	int status = CLI_OK;
	char **ids;
	size_t len;

	if (state_list(&ids, &len) < 0) {
		complain("%s", fault_text());
		return CLI_FAILED;
	}
	for (size_t i = 0; i < len; i++) {
		if (prune_one(ids[i]) < 0) {
			complain("%s: %s", ids[i], fault_text());
			status = CLI_FAILED;
		}
		free(ids[i]);
	}
	free(ids);
	return status;
}

int command_prune(int argc, char **argv)
{
	static const struct option_table table = {"holdfast prune [options]",
		"Removes all containers that have ended, and prints their ids.", rows,
		array_size(rows), true};
	struct control ctl = {0};
	int first, r = options_parse(&table, &ctl, argc, argv, &first);

	if (r == OPTIONS_HELP)
		return CLI_OK;
	if (r == OPTIONS_OK && first < argc)
		r = fault_plain(-EINVAL,
			"prune: \"%.100s\": takes no names (holdfast rm removes single ones)",
			argv[first]);
	if (r < 0) {
		complain("%s", fault_text());
		return CLI_USAGE;
	}
	return prune_all();
}
