/* Probes by a command: an exec like any other, only that its id is a probe's and nobody's journal
 * is filled by it. What must be known to a successor (the id) stands in the shared memory before
 * init is asked: asked again for the same id, init begins nothing twice and tells its process. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/fd.h"
#include "ipc/base/mem.h"
#include "ipc/base/proc.h"
#include "ipc/exec_plan.h"
#include "shim/probes.h"
#include "shim/shim.h"

#define PROBE_TAG (1ULL << 62)
#define READ_MAX  (64u << 10) /* bytes of output a turn */

#ifndef PIDFD_SIGNAL_PROCESS_GROUP
#define PIDFD_SIGNAL_PROCESS_GROUP (1u << 2) /* 6.9 */
#endif

bool probes_exec_is(uint32_t id)
{
	return (id & EXEC_IS_PROBE) == EXEC_IS_PROBE;
}

static struct probe_run *by_id(struct shim *s, uint32_t id)
{
	for (unsigned i = 0; s->health.probes && i < s->health.conf->count; i++)
		if (s->health.probes[i].state->exec == id)
			return &s->health.probes[i];
	return NULL;
}

/* The command leads a session of its own: what it has started goes with it. Who owns PID 1 may have
 * handed out somebody else's process: none but the container's is ever killed. */
static void kill_group(const struct shim *s, int pidfd)
{
	pid_t pid = pidfd_pid(pidfd);

	if (pid <= 1 || !notify_is_inside(s, pid))
		return;
	if (syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, PIDFD_SIGNAL_PROCESS_GROUP) == 0)
		return;
	/* An older kernel. While the leader lives its number is its own; SIGKILL comes last to it.
	 */
	if (!pidfd_dead(pidfd))
		kill(-pid, SIGKILL);
	pidfd_kill(pidfd, SIGKILL);
}

/* Where it stands ------------------------------------------------------------------------------ */

static void forget(struct probe_run *p)
{
	loop_io_finish(&p->io);
	fd_close(&p->pidfd);
	p->state->exec = 0;
}

/* false: nobody will write any more. */
static bool read_output(struct probe_run *p)
{
	char bytes[4096];
	ssize_t n = 1;

	for (unsigned all = 0; all < READ_MAX && p->io.loop && p->io.fd >= 0; all += (unsigned)n) {
		n = read(p->io.fd, bytes, sizeof(bytes));
		if (n <= 0)
			break;
		for (ssize_t i = 0; i < n && p->got < sizeof(p->said) - 1; i++)
			p->said[p->got++] = bytes[i];
	}
	p->said[p->got] = '\0';
	return n != 0;
}

static void on_output(struct loop_io *io)
{
	if (!read_output(io->ctx)) /* its end is readable for ever */
		loop_io_want(io, false, false);
}

/* Asking --------------------------------------------------------------------------------------- */

static int write_plan(struct probe_run *p, int fd)
{
	struct exec_plan x = {
		.magic = EXEC_PLAN_MAGIC,
		.version = EXEC_PLAN_VERSION,
		.argv = {.off = sizeof(x), .count = p->conf->words},
	};
	const char *end = p->conf->text;

	for (uint32_t i = 0; i < p->conf->words; i++)
		end += strlen(end) + 1;
	x.argv.len = (uint32_t)(end - p->conf->text);
	x.size = x.argv.off + x.argv.len;
	if (pwrite(fd, &x, sizeof(x), 0) != sizeof(x) ||
		pwrite(fd, p->conf->text, x.argv.len, sizeof(x)) != (ssize_t)x.argv.len)
		return -EIO;
	return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0
		       ? -errno
		       : 0;
}

static int make_plan(struct probe_run *p)
{
	auto_fd fd = -1;
	int r;

	if (p->plan >= 0)
		return 0;
	fd = memfd_create("probe", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	r = fd < 0 ? -errno : write_plan(p, fd);
	if (r == 0)
		p->plan = fd_take(&fd);
	return r;
}

/* A pipe whose writer holds it open for reading, too: it gets no SIGPIPE when a shim dies, which
 * would look like its own failure. */
static int open_output(struct probe_run *p)
{
	auto_fd in = -1;
	char path[40];
	int pipe[2], out;

	if (pipe2(pipe, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	in = pipe[0];
	close(pipe[1]);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", in);
	out = open(path, O_RDWR | O_CLOEXEC);
	if (out < 0)
		return -errno;
	loop_io_finish(&p->io);
	p->got = 0;
	p->said[0] = '\0';
	loop_io_start(&p->io, &p->shim->loop, fd_take(&in), on_output, p);
	return out;
}

static int ask(struct probe_run *p)
{
	auto_fd null = open("/dev/null", O_RDWR | O_CLOEXEC), out = -1;
	struct u64_req req = {p->state->exec};
	int r = null < 0 ? -errno : open_output(p);

	if (r < 0)
		return r;
	out = r;
	return link_init_send_fds(p->shim, INIT_EXEC, PROBE_TAG | req.value, &req, sizeof(req),
		(const int[]){p->plan, null, out, out, null}, EXEC_FDS);
}

int probe_exec_begin(struct probe_run *p)
{
	struct health_state *st = p->shim->health.state;
	int r = make_plan(p);

	if (r < 0)
		return r;
	if (!p->state->exec)
		p->state->exec = EXEC_IS_PROBE | (++st->next_exec & ~EXEC_IS_PROBE);
	r = ask(p);
	if (r < 0 && p->state->began)
		forget(p); /* init has not heard of it */
	return r;
}

/* Answers -------------------------------------------------------------------------------------- */

/* An end is told by the run's own, or it is waited for: what was not killed is not forgotten. */
void probe_exec_end(struct probe_run *p)
{
	loop_io_finish(&p->io);
	if (p->pidfd >= 0 && p->state->exec)
		kill_group(p->shim, p->pidfd);
	if (p->pidfd >= 0)
		forget(p);
}

void probes_exec_begun(struct shim *s, uint32_t id, int pidfd)
{
	struct probe_run *p = by_id(s, id);

	if (p && p->state->began) {
		fd_close(&p->pidfd);
		p->pidfd = pidfd;
		return;
	}
	kill_group(s, pidfd);
	close(pidfd);
	if (p)
		forget(p);
}

static void judge(struct probe_run *p, uint32_t code, uint32_t signal, uint32_t step, int err)
{
	char *eol;

	read_output(p);
	fd_close(&p->pidfd); /* it is dead: its number may be another's */
	p->state->exec = 0;
	if (!p->state->began) {
		forget(p);
		return;
	}
	eol = strpbrk(p->said, "\r\n");
	if (eol)
		*eol = '\0';
	for (char *c = p->said; *c; c++)
		if ((unsigned char)*c < ' ' || (unsigned char)*c >= 0x7f)
			*c = '?'; /* for terminals, and the API's UTF-8 */
	if (step)
		probe_finish(p, false, "can't be executed: %s", strerror(err));
	else if (signal)
		probe_finish(p, false, "killed by signal %u", signal);
	else
		probe_finish(p, code == 0, "status %u%s%s", code, p->said[0] ? ": " : "", p->said);
}

void probes_exec_ended(struct shim *s, const struct exit_record *r)
{
	struct probe_run *p = by_id(s, r->exec_id);

	serve_changed(s); /* it may have stood between another one's end and who waits for that */
	if (p)
		judge(p, r->code, r->signal, r->flags & EXIT_START_FAILED ? r->step : 0, r->errnum);
}

static const struct exec_slot *slot_of(const struct shim *s, uint32_t id)
{
	for (unsigned i = 0; s->shared && i < EXEC_SLOTS; i++)
		if (s->shared->execs[i].id == id)
			return &s->shared->execs[i];
	return NULL;
}

/* Refused; or, asked again, it has ended already and its record is gone. */
void probes_exec_answered(struct shim *s, uint64_t tag, int err)
{
	uint32_t id = (uint32_t)tag;
	struct probe_run *p = tag & PROBE_TAG && !(tag & ONCE_TAG) ? by_id(s, id) : NULL;
	const struct exec_slot *slot = p && err == 0 ? slot_of(s, id) : NULL;

	if (!p)
		return;
	if (slot && !slot->pid) {
		judge(p, slot->code, slot->signal, slot->step, slot->errnum);
		return;
	}
	forget(p); /* the run has ended, or there are too many: that says nothing of its health */
	probe_drop(p);
}
