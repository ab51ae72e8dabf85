/* attach: to a container that runs. What it writes from now on comes from the raw files; what is
 * typed here goes to it, should it have been made with -i. */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "cli/attach.h"
#include "cli/change.h"
#include "cli/command.h"
#include "cli/keys.h"
#include "cli/options.h"
#include "cli/spec.h"
#include "cli/state.h"
#include "ipc/base/fault.h"
#include "ipc/base/mem.h"

struct wish {
	bool no_stdin, keep_signals;
	const char *detach_keys;
};

static int set_proxy(void *ctx, const struct option *o, const char *value)
{
	if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
		return option_bad(o, value, "use true or false");
	((struct wish *)ctx)->keep_signals = value[0] == 'f';
	return 0;
}

static const struct option rows[] = {
	{"no-stdin", 0, NULL, "do not pass standard input on", option_flag,
		offsetof(struct wish, no_stdin)},
	{"sig-proxy", 0, "true|false", "pass signals on (true), or leave at the first", set_proxy,
		0},
	{"detach-keys", 0, "KEYS", "leave a terminal by these (ctrl-p,ctrl-q)", option_keys,
		offsetof(struct wish, detach_keys)},
};

static const struct option_table table = {"holdfast attach [options] ID",
	"Shows what a container writes from now on, passes input, its end, and signals on to it, and\n"
	"exits with its status.",
	rows, array_size(rows), true};

static int attach_to(struct client *c, const struct state *s, const struct wish *w)
{
	struct settings settings;
	struct attach_conf conf = {
		.keep = true,
		.from_end = true,
		.join = true,
		.keep_signals = w->keep_signals,
		.log_dir = settings.log_dir,
		.detach_keys = w->detach_keys,
	};
	char command[80];
	int r = settings_read(s->dirfd, &settings);

	if (r < 0)
		return r;
	spec_command(s->dirfd, command, sizeof(command));
	command[strcspn(command, " ")] = '\0';
	conf.command = command;
	conf.tty = settings.flags & SETTINGS_TTY;
	conf.remove = settings.flags & SETTINGS_AUTO_REMOVE;
	conf.interactive = !w->no_stdin && settings.flags & SETTINGS_STDIN;
	attach_block_signals();
	r = attach_run(c, s, &conf);
	return r == ATTACH_NOT_STARTED ? CLI_BROKEN : r;
}

/* A supervisor that was asked for and has nothing running yet: there is nothing to attach to. */
static int check_started(struct client *c, const struct state *s)
{
	struct client_state st;
	struct packet p;
	int r = client_call(c, CLIENT_STATE, NULL, 0, &p);

	if (r != CLIENT_DONE)
		return r;
	memcpy(&st, p.body, sizeof(st));
	return st.state == LIFE_NEW || st.state == LIFE_DOWN ? CLIENT_GONE : CLIENT_DONE;
}

static int attach_find(const char *name, const struct wish *w)
{
	struct client c = {.fd = -1};
	struct state s = {.dirfd = -1};
	int r = state_find(name, &s), status = CLI_BROKEN;

	if (r == 0)
		r = client_adopt(&c, &s);
	if (r == CLIENT_DONE)
		r = check_started(&c, &s);
	if (r == CLIENT_GONE)
		r = change_unsupervised(&s);
	if (r == CLIENT_DONE)
		r = status = attach_to(&c, &s, w);
	if (r < 0) {
		complain("%s", fault_text());
		status = r == -ENOTUNIQ ? CLI_USAGE : CLI_BROKEN;
	}
	client_close(&c);
	state_close(&s);
	return status;
}

int command_attach(int argc, char **argv)
{
	struct wish w = {0};
	int first, r = options_parse(&table, &w, argc, argv, &first);

	if (r == OPTIONS_HELP)
		return CLI_OK;
	if (r == OPTIONS_OK && first >= argc)
		r = fault_plain(-EINVAL, "attach: to which container? (%s)", table.usage);
	if (r == OPTIONS_OK && first + 1 < argc)
		r = fault_plain(-EINVAL, "attach: \"%s\": one container at a time (%s)",
			argv[first + 1], table.usage);
	if (r < 0) {
		complain("%s", fault_text());
		return CLI_USAGE;
	}
	return attach_find(argv[first], &w);
}
