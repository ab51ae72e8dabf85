/* prune: rm for every container that has ended for good. What runs, waits for its next run, or was
 * created and never started stays; so does one that nobody supervises and whose service may run. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/control.h"
#include "cli/ps_filter.h"
#include "cli/when.h"
#include "ipc/base/fault.h"
#include "ipc/base/mem.h"

struct prune {
	bool force;
	struct ps_filter filter;
	uint64_t until; /* usec since 1970; 0: not given */
};

static int set_filter(void *ctx, const struct option *o, const char *value)
{
	struct prune *p = ctx;

	return strncmp(value, "until=", 6) == 0 ? when_parse(option_shown(o), value + 6, &p->until)
						: ps_filter_add(ctx, o, value);
}

static const struct option rows[] = {
	{"force", 'f', NULL, "accepted; nothing is asked in any case", option_flag,
		offsetof(struct prune, force)},
	{"filter", 0, "KEY=VALUE", "only these: label, name, status, exited, until (when it ended)",
		set_filter, offsetof(struct prune, filter)},
};

static bool has_ended(const struct history *h, bool stale)
{
	return h->state == LIFE_DOWN || (stale && h->state != LIFE_NEW);
}

/* What a host that restarted has ended, ended some time before: until= leaves it when not even its
 * start was that long ago. */
static bool ended_by(const struct history *h, uint64_t until)
{
	uint64_t end = h->state == LIFE_DOWN && h->last.run ? h->last.real_end : h->real_started;

	return !until || end <= until;
}

static bool meant(const struct prune *p, const struct state *s)
{
	struct ps_known known = {.state = s};
	struct history h;
	bool stale;

	if (state_history(s, &h, &stale) < 0)
		return false; /* damaged: rm -f is the way, one by one */
	known.now = &h;
	known.name_of_state = h.state == LIFE_DOWN ? life_name(h.state) : "lost";
	return has_ended(&h, stale) && ended_by(&h, p->until) && ps_filter_fits(&p->filter, &known);
}

/* 0, or a fault; one that is started again meanwhile is none. */
static int prune_one(struct state *s, void *ctx)
{
	int r;

	if (!meant(ctx, s))
		return 0;
	r = control_remove(s, false);
	if (r == 0)
		printf("%s\n", s->id);
	return r < 0 && r != -EBUSY ? fault_plain(r, "%s: %s", s->id, fault_text()) : 0;
}

/* Last, what removals have left, in silence: those are no containers any more. Who may not even
 * look has been told so. */
static int prune_all(struct prune *p)
{
	int status = control_all(prune_one, p);

	if (status != CLI_OK || state_sweep() == 0)
		return status;
	complain("%s", fault_text());
	return CLI_FAILED;
}

int command_prune(int argc, char **argv)
{
	static const struct option_table table = {"holdfast prune [options]",
		"Removes all containers that have ended, and prints their ids.", rows,
		array_size(rows), true};
	struct prune p = {0};
	int status, first, r = options_parse(&table, &p, argc, argv, &first);

	if (r == OPTIONS_OK && first < argc)
		r = fault_plain(-EINVAL,
			"prune: \"%.100s\": takes no names (holdfast rm removes single ones)",
			argv[first]);
	if (r < 0)
		complain("%s", fault_text());
	status = r < 0 ? CLI_USAGE : r == OPTIONS_HELP ? CLI_OK : prune_all(&p);
	ps_filter_finish(&p.filter);
	return status;
}
