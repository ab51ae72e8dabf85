/* `holdfast exec`: what the command line says becomes a plan and three descriptors. */
#include "cli/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/change.h"
#include "cli/command.h"
#include "cli/envfile.h"
#include "cli/identity.h"
#include "cli/options.h"
#include "cli/state.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/mem.h"
#include "ipc/exec_term.h"
#include "ipc/exec_write.h"

static size_t name_len(const char *pair)
{
	return strcspn(pair, "=") + 1;
}

/* The last one of a name counts. */
static int env_put(struct spec_list *env, char *pair)
{
	char **have = env->items;

	for (size_t i = 0; i < env->len; i++)
		if (strncmp(have[i], pair, name_len(pair)) == 0) {
			free(have[i]);
			have[i] = pair;
			return 0;
		}
	return spec_list_add(env, &pair, sizeof(pair));
}

static int set_env(void *ctx, const struct option *o, const char *value)
{
	char *pair = NULL;
	int r;

	if (!*value || *value == '=')
		return option_bad(
			o, value, "has no name (use NAME=VALUE, or NAME to pass yours on)");
	r = env_pair(value, &pair);
	return r < 0 || !pair ? r : env_put(&((struct exec *)ctx)->env, pair);
}

static int set_workdir(void *ctx, const struct option *o, const char *value)
{
	if (value[0] != '/')
		return option_bad(o, value, "not an absolute path");
	return option_text(ctx, o, value);
}

#define AT(field) offsetof(struct exec, field)

static const struct option rows[] = {
	{"interactive", 'i', NULL, "pass standard input on", option_flag, AT(interactive)},
	{"tty", 't', NULL, "on a terminal of its own", option_flag, AT(tty)},
	{"detach", 'd', NULL, "do not wait for its end", option_flag, AT(detach)},
	{"env", 'e', "NAME[=VALUE]", "environment variable; NAME alone passes yours on", set_env,
		0},
	{"workdir", 'w', "DIR", "working directory (default: the service's)", set_workdir,
		AT(workdir)},
	{"user", 'u', "USER[:GROUP]", "numbers, or names known in the container", option_text,
		AT(user)},
	{"detach-keys", 0, "KEYS", "leave it running, with -it (ctrl-p,ctrl-q)", option_keys,
		AT(detach_keys)},
};

static const struct option_table table = {"holdfast exec [options] ID COMMAND [ARG...]",
	"Runs a command beside a container's service, with the service's environment and limits.",
	rows, array_size(rows), false};

/* A directory would be a way out of the container: whoever has one open may go there. */
static int check_stdio(const struct exec *x)
{
	static const char *const names[] = {"input", "output", "error"};
	struct stat st;

	for (int fd = x->interactive ? 0 : 1; fd < 3; fd++)
		if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
			return fault_plain(-EINVAL,
				"exec: standard %s is a directory, which the container must not get (redirect it)",
				names[fd]);
	return 0;
}

static int check(struct exec *x)
{
	if (x->detach && x->interactive)
		return fault_plain(
			-EINVAL, "exec: -d and -i exclude each other (leave one of them out)");
	if (x->tty && x->interactive && !isatty(STDIN_FILENO))
		return fault_plain(-EINVAL,
			"exec: -it, but standard input is not a terminal (leave -t out to pipe into it)");
	return x->tty || x->detach ? 0 : check_stdio(x);
}

/* The container's root as its PID 1 has it. The pid is the supervisor's word before and after: it
 * has not ended meanwhile, so it was no other's. */
static int root_open(struct client *c, const struct state *s)
{
	struct client_state before, after;
	auto_fd fd = -1;
	struct packet p;
	char path[40];
	int r = client_call(c, CLIENT_STATE, NULL, 0, &p);

	memcpy(&before, p.body, sizeof(before));
	if (r != CLIENT_DONE || before.init_pid <= 0)
		return r < 0 ? r : fault_plain(-ESRCH, "container \"%s\" is not running", s->id);
	snprintf(path, sizeof(path), "/proc/%d/root", before.init_pid);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = client_call(c, CLIENT_STATE, NULL, 0, &p);
	memcpy(&after, p.body, sizeof(after));
	if (r != CLIENT_DONE || after.init_pid != before.init_pid)
		return r < 0 ? r : fault_plain(-ESRCH, "container \"%s\" is not running", s->id);
	return fd < 0 ? fault(-errno, "%s", path) : fd_take(&fd);
}

/* Without -i there is nothing to read; with -d nobody to write to. */
static int stdio_choose(const struct exec *x, int stdio[3])
{
	int null = -1;

	for (int fd = 0; fd < 3; fd++)
		stdio[fd] = fd;
	if (x->interactive)
		return 0;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return fault(-errno, "/dev/null");
	stdio[0] = null;
	if (x->detach)
		stdio[1] = stdio[2] = null;
	return 0;
}

/* root: path of the container's root, only looked at for a user. */
static int plan_make(const struct exec *x, const char *root)
{
	struct identity who = {0};
	struct exec_wish wish = {
		.argv = x->argv,
		.env = x->env.items,
		.env_len = x->env.len,
		.cwd = x->workdir,
		.terminal = x->tty,
	};
	int r = x->user ? identity_resolve(x->user, root, &who) : 0;

	if (r < 0)
		return r;
	while (x->argv[wish.argc])
		wish.argc++;
	if (x->user) {
		wish.has_user = true;
		wish.uid = who.uid;
		wish.gid = who.gid;
		wish.groups = who.groups;
		wish.groups_len = who.groups_len;
		wish.home = who.home[0] ? who.home : who.uid == 0 ? "/root" : "/";
	}
	return exec_write(&wish);
}

static int exec_in(struct client *c, const struct state *s, const struct exec *x)
{
	int stdio[3] = {-1, -1, -1}, master = -1, plan, r = 0;
	auto_fd root = -1;
	char path[40];

	if (x->user || x->tty) {
		r = root_open(c, s);
		root = r < 0 ? -1 : r;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", root);
	plan = r < 0 ? r : plan_make(x, path);
	if (plan < 0) {
		complain("%s", fault_text());
		return plan == -EINVAL ? CLI_USAGE : CLI_BROKEN;
	}
	if (x->tty) {
		master = r = exec_term_open(root, &stdio[0]);
		stdio[1] = stdio[2] = stdio[0];
	} else {
		r = stdio_choose(x, stdio);
	}
	if (r >= 0)
		return exec_run(c, s, x, plan, stdio, master);
	complain("%s", fault_text());
	close(plan);
	return CLI_BROKEN;
}

static int exec_find(const char *name, const struct exec *x)
{
	struct client c = {.fd = -1};
	struct state s = {.dirfd = -1};
	int r = state_find(name, &s), status = CLI_BROKEN;

	if (r == 0)
		r = client_adopt(&c, &s);
	if (r == CLIENT_GONE)
		r = change_unsupervised(&s);
	if (r < 0) {
		complain("%s", fault_text());
		status = r == -ENOTUNIQ ? CLI_USAGE : CLI_BROKEN;
	} else {
		status = exec_in(&c, &s, x);
	}
	client_close(&c);
	state_close(&s);
	return status;
}

static int carry_out(struct exec *x, int argc, char **argv)
{
	int first, r = options_parse(&table, x, argc, argv, &first);

	if (r == OPTIONS_HELP)
		return CLI_OK;
	if (r == OPTIONS_OK && first >= argc)
		r = fault_plain(-EINVAL, "exec: in which container? (%s)", table.usage);
	if (r == OPTIONS_OK && first + 1 >= argc)
		r = fault_plain(-EINVAL, "exec: which command? (%s)", table.usage);
	if (r == OPTIONS_OK)
		r = check(x);
	if (r < 0) {
		complain("%s", fault_text());
		return CLI_USAGE;
	}
	x->argv = argv + first + 1;
	return exec_find(argv[first], x);
}

int command_exec(int argc, char **argv)
{
	struct exec x = {.env = {0}};
	int status = carry_out(&x, argc, argv);

	spec_texts_finish(&x.env);
	return status;
}
