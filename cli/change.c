/* pause and resume; and what `update` shares with them. */
#include "cli/change.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/control.h"
#include "cli/state.h"
#include "ipc/base/clock.h"
#include "ipc/base/fault.h"

#define ANSWER_USEC (30 * USEC_PER_SEC)

int change_unsupervised(const struct state *s)
{
	struct history h;
	bool stale;
	int r = state_history(s, &h, &stale);

	if (r < 0)
		return r;
	if (h.state == LIFE_NEW)
		return fault_plain(-ESRCH, "container \"%s\" is not running (holdfast start %s)",
			s->id, s->id);
	if (h.state == LIFE_DOWN || h.state == LIFE_REMOVED || stale)
		return fault_plain(-ESRCH,
			"container \"%s\" is not running (it has ended: holdfast start %s)", s->id,
			s->id);
	return fault_plain(-EIO,
		"nobody supervises \"%s\": it can't be reached (holdfast stop or rm -f ends it)",
		s->id);
}

/* 0 or as libholdfast answers: then *ret may have something to say. */
static int reach(const struct state *s, struct holdfast **ret)
{
	int r = holdfast_open(NULL, REALM, s->id, HOLDFAST_CONTROL, ret);
	struct client c = {.fd = -1};

	if (r != -ECONNREFUSED)
		return r;
	holdfast_close(*ret);
	*ret = NULL;
	r = client_adopt(&c, s); /* once one socket is there all are */
	client_close(&c);
	if (r != CLIENT_DONE)
		return r < 0 ? r : change_unsupervised(s);
	return holdfast_open(NULL, REALM, s->id, HOLDFAST_CONTROL, ret);
}

static int ask_once(const struct state *s, change_one one, const void *ctx)
{
	struct holdfast *h;
	int r = reach(s, &h);

	if (h)
		holdfast_timeout(h, ANSWER_USEC);
	if (r == 0)
		r = one(h, ctx);
	if (r < 0 && h)
		r = fault_plain(r, "%s", holdfast_error(h));
	holdfast_close(h);
	return r;
}

/* Each of these can be done twice; who hung up may have done it or not. */
static int ask(const struct state *s, change_one one, const void *ctx)
{
	int r = -EPIPE;

	for (int i = 0; i < CLIENT_TRIES && r == -EPIPE; i++)
		r = ask_once(s, one, ctx);
	return r;
}

int change_each(char **names, int count, change_one one, const void *ctx)
{
	int status = CLI_OK, failed;

	for (int i = 0; i < count; i++) {
		struct state s;
		int r = state_find(names[i], &s);

		failed = state_status(r);
		if (r == 0) {
			r = ask(&s, one, ctx);
			failed = r == -EINVAL ? CLI_USAGE : state_status(r);
		}
		if (r < 0) {
			complain("%s", fault_text());
			status = status == CLI_OK ? failed : status;
		} else {
			printf("%s\n", s.id);
			fflush(stdout);
		}
		state_close(&s);
	}
	return status;
}

int change_parse(const struct option_table *table, void *ctx, int argc, char **argv, int *first)
{
	int r = options_parse(table, ctx, argc, argv, first);

	if (r == OPTIONS_OK && *first >= argc)
		r = fault_plain(-EINVAL, "%s: which container? (%s)", argv[0], table->usage);
	return r == OPTIONS_OK ? control_check_names(argv + *first, argc - *first) : r;
}

static int command(const struct option_table *table, int argc, char **argv, change_one one)
{
	int first, r = change_parse(table, NULL, argc, argv, &first);

	if (r == OPTIONS_HELP)
		return CLI_OK;
	if (r < 0) {
		complain("%s", fault_text());
		return CLI_USAGE;
	}
	return change_each(&argv[first], argc - first, one, NULL);
}

static int pause_one(struct holdfast *h, const void *ctx)
{
	return holdfast_pause(h);
}

static int resume_one(struct holdfast *h, const void *ctx)
{
	return holdfast_resume(h);
}

int command_pause(int argc, char **argv)
{
	static const struct option_table table = {"holdfast pause ID...",
		"Makes every process of the containers stand still until resume. stop, kill, restart\n"
		"and rm let them go on first.",
		NULL, 0, true};

	return command(&table, argc, argv, pause_one);
}

int command_resume(int argc, char **argv)
{
	static const struct option_table table = {
		"holdfast resume ID...", "Lets paused containers go on.", NULL, 0, true};

	return command(&table, argc, argv, resume_one);
}
