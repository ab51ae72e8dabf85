/* holdfast-launch: makes one sandbox and its PID 1, reports to the keeper, leaves. Whatever goes
 * wrong becomes one LAUNCH_RESULT with the step's name; nothing is left behind but cgroup
 * directories, which the shim has journalled and removes. It may be started ahead of the shim's
 * intent, so it only reads until the keeper says which launch it is. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/log.h"
#include "ipc/base/mem.h"
#include "ipc/base/proc.h"
#include "ipc/channel.h"
#include "ipc/fds.h"
#include "shim/launch/beside.h"
#include "shim/launch/launch.h"
#include "shim/launch/recipe.h"

#define EXIT_USAGE  64
#define EXIT_FAILED 125 /* nobody is left to tell */

void launch_warn(struct launch *l, const char *fmt, ...)
{
	size_t at = strlen(l->warnings), room = sizeof(l->warnings) - at;
	char line[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	l->warned++;
	log_warn("launch: %s", line); /* shim.log has them all */
	if (strlen(line) + WARNINGS_TAIL <= room)
		snprintf(l->warnings + at, room, "%s%s", at ? "\n" : "", line);
}

int launch_hold(const struct launch *l, uint32_t kind, uint64_t key, int fd)
{
	struct held held = {.kind = kind, .key = key};
	int r = channel_send(l->channel, LAUNCH_HOLD, l->nonce, &held, sizeof(held), &fd, 1);

	return r < 0 ? fault(r, "deposit descriptor %u with the keeper", kind) : 0;
}

uint32_t launch_root_id(const struct launch *l, struct plan_range map)
{
	const struct sandbox_idmap *m = sandbox_range(l->sb, map, sizeof(*m));

	for (uint32_t i = 0; i < map.count; i++)
		if (m[i].inside == 0)
			return m[i].outside;
	return 0;
}

/* What did not fit is counted, and where it can be read is said. */
static void count_lost(struct launch *l)
{
	size_t at = strlen(l->warnings);
	unsigned told = at > 0;

	for (const char *p = l->warnings; *p; p++)
		told += *p == '\n';
	if (l->warned > told)
		snprintf(l->warnings + at, sizeof(l->warnings) - at, "%sand %u more (shim.log)",
			at ? "\n" : "", l->warned - told);
}

static int report(struct launch *l, uint32_t outcome, int err, const char *step, const char *text)
{
	struct launch_result r = {
		.nonce = l->nonce,
		.outcome = outcome,
		.err = err,
		.pid = outcome == LAUNCH_OK ? l->pid : 0,
		.warnings = l->warned,
	};

	/* the service's end must be the only one: its closing says that the exec has succeeded */
	fd_close(&l->init_channel);
	snprintf(r.step, sizeof(r.step), "%s", step);
	snprintf(r.text, sizeof(r.text), "%s", text);
	return channel_send(l->channel, LAUNCH_RESULT, l->nonce, &r, sizeof(r), NULL, 0);
}

/* The child must not outlive a failed recipe; the keeper, its parent, reaps it. */
static int fail(struct launch *l, const char *step, int err)
{
	char text[1024];

	snprintf(text, sizeof(text), "%s", fault_text());
	if (l->pidfd >= 0)
		pidfd_kill(l->pidfd, SIGKILL);
	log_warn("launch: %s: %s", step, text);
	return report(l, LAUNCH_FAILED, err, step, text);
}

/* The creator of the socket pair is the keeper that started us (SO_PEERCRED is taken then). */
static int check_inherited(struct launch *l)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(l->channel, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
		return fault(-errno, "descriptor %d is not the keeper's channel", l->channel);
	l->keeper = getppid();
	if (cred.pid != l->keeper)
		return fault_plain(
			-ESRCH, "the keeper %d is gone (parent is %d)", cred.pid, l->keeper);
	for (int fd = LAUNCH_FD_STATE; fd < LAUNCH_FD_LIMIT; fd++)
		if (fcntl(fd, F_GETFD) < 0 &&
			!(fd == LAUNCH_FD_INIT_EXE && launch_flag(l, SETTINGS_NO_INIT)))
			return fault(-errno, "descriptor %d", fd);
	return 0;
}

static void launch_init(struct launch *l)
{
	*l = (struct launch){
		.channel = LAUNCH_FD_KEEPER,
		.state = LAUNCH_FD_STATE,
		.init_channel = LAUNCH_FD_INIT_END,
		.shared = LAUNCH_FD_SHARED,
		.init_exe = LAUNCH_FD_INIT_EXE,
		.exe = -1,
		.root = -1,
		.dev = -1,
		.null_mount = -1,
		.null = -1,
		.copies = -1,
		.notify = -1,
		.sync = -1,
		.pidfd = -1,
		.here = -1,
		.proc = -1,
		.devpts = -1,
		.tty_peer = -1,
		.tty = -1,
		.stdio = {-1, -1, -1},
	};
	for (int i = 0; i < PLAN_FD_LIMIT; i++)
		l->counters[i] = -1;
	for (int i = 0; i < GROUPS; i++)
		l->group[i].dir = l->group[i].view = -1;
}

/* HOLDFAST_LAUNCH_TRACE=1: where the time goes, a line per step on stderr (shim.log). */
static void trace(const char *step, uint64_t *last)
{
	uint64_t now = now_mono();

	if (getenv("HOLDFAST_LAUNCH_TRACE"))
		dprintf(STDERR_FILENO, "launch-trace %s %llu us\n", step,
			(unsigned long long)(now - *last));
	*last = now;
}

static int take_steps(struct launch *l)
{
	uint64_t last = now_mono();
	int r;

	for (size_t i = 0; i < parent_step_count; i++) {
		if (parent_steps[i].when && parent_steps[i].when != l->groups)
			continue;
		r = parent_steps[i].run(l);
		if (r < 0)
			return fail(l, parent_steps[i].name, r);
		if (r > 0) /* the child has reported by itself */
			return 0;
		trace(parent_steps[i].name, &last);
	}
	count_lost(l);
	return report(l, LAUNCH_OK, 0, "", l->warnings);
}

/* Reading, which touches nothing: how it went is told when somebody asks. */
struct preparation {
	int r;
	uint32_t outcome;
	const char *step;
};

static struct preparation prepare(struct launch *l)
{
	int r = settings_read(l->state, &l->set);

	if (r < 0)
		return (struct preparation){r, LAUNCH_BAD_CONFIG, "settings"};
	r = check_inherited(l);
	if (r < 0)
		return (struct preparation){r, LAUNCH_FAILED, "descriptors"};
	r = reader_run(l->state, &l->set, &l->in);
	if (r < 0)
		return (struct preparation){
			r, r == -EINVAL ? LAUNCH_BAD_CONFIG : LAUNCH_FAILED, "config"};
	return (struct preparation){cghier_find(&l->hier), LAUNCH_FAILED, "cgroup"};
}

/* `holdfast update` may have come between reading and being asked. */
static bool outdated(const struct launch *l)
{
	struct settings now;

	return settings_read(l->state, &now) == 0 && memcmp(&now, &l->set, sizeof(now)) != 0;
}

static int launch(struct launch *l)
{
	uint64_t start = now_mono();
	struct preparation p = prepare(l);

	if (pass_hear(l) == LAUNCH_UNWANTED)
		return 0;
	if (outdated(l)) {
		fd_close(&l->in.plan_fd);
		p = prepare(l);
	}
	if (p.r < 0)
		return report(l, p.outcome, p.r, p.step, fault_text());
	l->sb = l->in.sandbox;
	if (l->sb->outcome != LAUNCH_OK)
		return report(l, LAUNCH_BAD_CONFIG, -EINVAL, "config", l->sb->error);
	l->warned = l->sb->warned;
	snprintf(l->warnings, sizeof(l->warnings), "%s", l->sb->warnings);
	trace("config", &start);
	return take_steps(l);
}

int main(int argc, char **argv)
{
	static struct launch l;
	bool beside = argc == 3 && strcmp(argv[2], "exec") == 0;

	if ((argc != 2 && !beside) || fcntl(LAUNCH_FD_STATE, F_GETFD) < 0) {
		fprintf(stderr,
			"holdfast-launch: started by holdfast's keeper only (use: holdfast run)\n");
		return EXIT_USAGE;
	}
	launch_init(&l);
	log_init("holdfast-launch", argv[1]);
	signal(SIGPIPE, SIG_IGN);
	/* A process inside that could trace this one would own the host. */
	prctl(PR_SET_DUMPABLE, 0);
	fd_cloexec_all(LAUNCH_FD_KEEPER);
	if (beside)
		return beside_run(&l) < 0 ? EXIT_FAILED : 0;
	return launch(&l) < 0 ? EXIT_FAILED : 0;
}
