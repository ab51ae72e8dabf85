/* Commands beside a service that runs without init. holdfast-launch makes the process in the
 * container, as our child, and leaves; the process is noted, its pidfd is deposited with the
 * keeper, and only then told to go on. It ends with this shim (PR_SET_PDEATHSIG): a successor makes
 * sure of it and records the end as inferred. */
#include "shim/exec_alone.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/log.h"
#include "ipc/base/mem.h"
#include "ipc/base/proc.h"
#include "ipc/base/slice.h"
#include "ipc/beside.h"
#include "ipc/exec_plan.h"
#include "ipc/fds.h"
#include "ipc/journal_reader.h"
#include "shim/shim.h"

#define SCRATCH_FD 64

struct exec_alone {
	struct exec_alone *next; /* shim::execs_alone */
	struct shim *shim;
	uint32_t id;
	uint64_t tag;				 /* who has asked; 0: has the answer */
	struct loop_io channel, launch, process; /* the latter are pidfds */
};

/* Slots in the shared memory, which init would keep ---------------------------------------------
 */

static struct exec_slot *slot_of(const struct shim *s, uint32_t id)
{
	for (unsigned i = 0; s->shared && i < EXEC_SLOTS; i++)
		if (s->shared->execs[i].id == id)
			return &s->shared->execs[i];
	return NULL;
}

static struct exec_slot *slot_new(struct shim *s, uint32_t id)
{
	for (unsigned n = 0; n < EXEC_SLOTS; n++) {
		struct exec_slot *slot = &s->shared->execs[s->shared->exec_next++ % EXEC_SLOTS];

		if (slot->pid)
			continue;
		*slot = (struct exec_slot){.id = id, .unseen = 1, .boot_start = now_boot()};
		return slot;
	}
	return NULL;
}

static unsigned count(const struct shim *s)
{
	unsigned n = 0;

	for (const struct exec_alone *e = s->execs_alone; e; e = e->next)
		n++;
	return n;
}

static struct exec_alone *find(const struct shim *s, uint32_t id)
{
	struct exec_alone *e = s->execs_alone;

	while (e && e->id != id)
		e = e->next;
	return e;
}

/* Ends -----------------------------------------------------------------------------------------
 */

static void entry_free(struct exec_alone *e)
{
	struct exec_alone **at = &e->shim->execs_alone;

	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	loop_io_finish(&e->channel);
	loop_io_finish(&e->launch);
	loop_io_finish(&e->process);
	free(e);
}

/* It stays for as long as something of it is to be reaped. */
static void entry_done(struct exec_alone *e)
{
	if (e->channel.fd < 0 && e->launch.fd < 0 && e->process.fd < 0)
		entry_free(e);
}

static void answer(struct exec_alone *e, int err, const char *text)
{
	struct shim *s = e->shim;
	uint64_t tag = e->tag;

	e->tag = 0;
	if (!tag)
		return;
	clients_answered(s, tag, err, text);
	exec_answered(s, tag, err);
}

static bool reap(int pidfd, siginfo_t *info, struct rusage *ru)
{
	info->si_pid = 0;
	return syscall(SYS_waitid, P_PIDFD, pidfd, info, WEXITED | WNOHANG | __WALL, ru) == 0 &&
	       info->si_pid;
}

static uint64_t usec_of(struct timeval t)
{
	return (uint64_t)t.tv_sec * USEC_PER_SEC + (uint64_t)t.tv_usec;
}

static void tell_end(
	struct shim *s, struct exec_slot *slot, const siginfo_t *info, const struct rusage *ru)
{
	struct exit_record r = {.kind = EXIT_EXEC, .exec_id = slot->id, .pid = slot->pid};
	bool exited = info->si_code == CLD_EXITED;
	struct exit_info e = {
		.run = s->journal.now.run,
		.flags = (info->si_code == CLD_DUMPED ? EXIT_CORE : 0) |
			 (slot->step ? EXIT_START_FAILED : 0),
		.code = exited ? (uint32_t)info->si_status : 0,
		.signal = exited ? 0 : (uint32_t)info->si_status,
		.step = slot->step,
		.errnum = slot->errnum,
		.count = 1,
		.boot_start = slot->boot_start,
		.boot_end = now_boot(),
		.real_end = now_real(),
		.utime_usec = usec_of(ru->ru_utime),
		.stime_usec = usec_of(ru->ru_stime),
		.maxrss_kib = (uint64_t)ru->ru_maxrss,
	};

	slot->code = (uint8_t)e.code;
	slot->signal = (uint8_t)e.signal;
	execs_ended(s, &r, &e);
	slot->pid =
		0; /* only now: a successor tells of those that the journal does not know ended */
}

static void drain(struct exec_alone *e);

static void on_process(struct loop_io *io)
{
	struct exec_alone *e = io->ctx;
	struct shim *s = e->shim;
	struct exec_slot *slot = slot_of(s, e->id);
	struct rusage ru;
	siginfo_t info;

	drain(e); /* why it never became the command */
	if (!reap(io->fd, &info, &ru))
		return;
	loop_io_finish(io);
	link_keeper_drop(s, HELD_EXEC_PID, e->id);
	if (slot && slot->pid)
		tell_end(s, slot, &info, &ru);
	serve_changed(s);
	entry_done(e);
}

static void on_launch(struct loop_io *io)
{
	struct exec_alone *e = io->ctx;
	struct rusage ru;
	siginfo_t info;

	if (!reap(io->fd, &info, &ru))
		return;
	loop_io_finish(io);
	drain(e);
	if (e->process.fd < 0)
		answer(e, -EIO, "exec: the program that begins it has died");
	entry_done(e);
}

/* What launch and the process say --------------------------------------------------------------
 */

/* As init would tell it; and the process goes on when nothing of it can be lost any more. */
static void born(struct exec_alone *e, struct packet *p)
{
	struct shim *s = e->shim;
	int pidfd = packet_take_fd(p, 0);
	struct exec_slot *slot = s->shared ? slot_new(s, e->id) : NULL;
	struct init_execed told = {.id = e->id};

	if (pidfd < 0 || !slot) {
		if (pidfd >= 0)
			close(pidfd);
		answer(e, -EUSERS, "too many execs are under way");
		loop_io_finish(&e->channel); /* it waits for a word, and leaves */
		return;
	}
	loop_io_start(&e->process, &s->loop, pidfd, on_process, e);
	link_keeper_hold(s, HELD_EXEC_PID, e->id, pidfd);
	slot->pid = told.pid = (int32_t)pidfd_pid(pidfd);
	memcpy(p->body, &told, sizeof(told));
	p->h.tag = e->tag;
	p->fds[0] = pidfd;
	execs_begun(s, p);
	p->fds[0] = -1;
	e->tag = 0;
	slot->unseen = 0;
	channel_send(e->channel.fd, BESIDE_GO, 0, NULL, 0, NULL, 0);
}

static void failed(struct exec_alone *e, const struct packet *p)
{
	struct exec_slot *slot = slot_of(e->shim, e->id);
	struct exec_failure f;

	memcpy(&f, p->body, sizeof(f));
	if (!slot)
		return;
	slot->step = (uint8_t)f.step;
	slot->errnum = f.errnum;
}

static void refused(struct exec_alone *e, const struct packet *p)
{
	struct reply r;

	memcpy(&r, p->body, sizeof(r));
	r.text[sizeof(r.text) - 1] = '\0';
	log_warn("exec: %s", r.text);
	answer(e, r.err < 0 ? r.err : -EIO, r.text);
}

static void heard(struct exec_alone *e, struct packet *p)
{
	if (p->h.verb == BESIDE_BORN)
		born(e, p);
	else if (p->h.verb == BESIDE_FAILED && p->h.len >= sizeof(struct exec_failure))
		failed(e, p);
	else if (p->h.verb == BESIDE_REFUSED && p->h.len >= sizeof(struct reply))
		refused(e, p);
}

static void drain(struct exec_alone *e)
{
	struct packet p;
	int r = -EAGAIN;

	while (e->channel.fd >= 0 && (r = channel_recv(e->channel.fd, &p, 1)) == 1) {
		heard(e, &p);
		packet_finish(&p);
	}
	if (e->channel.fd >= 0 && r != -EAGAIN)
		loop_io_finish(&e->channel); /* it has become the command, or is gone */
}

static void on_channel(struct loop_io *io)
{
	struct exec_alone *e = io->ctx;

	drain(e);
	entry_done(e);
}

/* Beginning ------------------------------------------------------------------------------------ */

/* From a read-only mount of its own, as init is: what the image makes of /proc/self/exe can't be
 * written to. */
static int read_only_launch(void)
{
	const struct mount_attr attr = {
		.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
	int fd = (int)syscall(SYS_open_tree, SHIM_FD_LAUNCH_EXE, "",
		OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);

	if (fd < 0 || syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		_exit(125);
	return fd;
}

static __attribute__((noreturn)) void become_launch(
	const struct shim *s, const int *fds, size_t count_fds)
{
	char *argv[] = {(char *)(uintptr_t) "holdfast-launch", (char *)(uintptr_t)s->settings.id,
		(char *)(uintptr_t) "exec", NULL};
	int high[BESIDE_FD_LIMIT], exe = read_only_launch();
	sigset_t none;

	exe = fcntl(exe, F_DUPFD_CLOEXEC, SCRATCH_FD);
	for (size_t i = 0; i < count_fds; i++)
		high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, SCRATCH_FD);
	for (size_t i = 0; i < count_fds; i++)
		if (dup2(high[i], BESIDE_FD_CHANNEL + (int)i) < 0)
			_exit(125);
	syscall(SYS_close_range, (unsigned)BESIDE_FD_LIMIT, ~0u, 1u << 2 /* CLOEXEC */);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	slice_come_forward();
	syscall(SYS_execveat, exe, "", argv, environ, AT_EMPTY_PATH);
	_exit(125);
}

static int spawn(struct exec_alone *e, const int *fds)
{
	struct shim *s = e->shim;
	int pair[2], pidfd;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	pid = fork();
	if (pid == 0) {
		int give[BESIDE_FD_LIMIT - BESIDE_FD_CHANNEL] = {
			pair[1], SHIM_FD_STATE, s->init_pidfd.fd};

		memcpy(give + 3, fds, EXEC_FDS * sizeof(*fds));
		become_launch(s, give, array_size(give));
	}
	close(pair[1]);
	pidfd = pid < 0 ? -errno : pidfd_open_pid(pid);
	if (pidfd < 0) {
		close(pair[0]);
		if (pid > 0)
			kill(pid, SIGKILL);
		if (pid > 0)
			waitpid(pid, NULL, 0);
		return pidfd;
	}
	loop_io_start(&e->channel, &s->loop, pair[0], on_channel, e);
	loop_io_start(&e->launch, &s->loop, pidfd, on_launch, e);
	return 0;
}

/* As init tells again what it has begun already; only the API asks so. */
static int begun_before(struct shim *s, uint32_t id, uint64_t tag)
{
	const struct exec_alone *e = find(s, id);

	if (e && e->process.fd >= 0)
		exec_begun(s, tag, (int32_t)pidfd_pid(e->process.fd), e->process.fd);
	else
		exec_answered(s, tag, 0);
	return 0;
}

int exec_alone_begin(struct shim *s, uint32_t id, uint64_t tag, const int *fds)
{
	struct exec_alone *e;
	int r;

	if (slot_of(s, id))
		return begun_before(s, id, tag);
	if (s->phase != PHASE_RUNNING || s->init_pidfd.fd < 0)
		return -ESRCH;
	if (count(s) >= EXEC_MAX)
		return -EUSERS;
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->shim = s;
	e->id = id;
	e->tag = tag;
	e->channel.fd = e->launch.fd = e->process.fd = -1;
	e->next = s->execs_alone;
	s->execs_alone = e;
	r = spawn(e, fds);
	if (r < 0)
		entry_free(e);
	return r;
}

/* A new shim ----------------------------------------------------------------------------------- */

void exec_alone_held(struct shim *s, uint64_t key, int fd)
{
	pidfd_kill(fd, SIGKILL);
	close(fd);
	link_keeper_drop(s, HELD_EXEC_PID, key);
}

static bool under_way(const struct shim *s)
{
	bool any = false;

	for (unsigned i = 0; s->shared && i < EXEC_SLOTS; i++)
		any = any || s->shared->execs[i].pid;
	return any;
}

/* What the journal has of one is done, whatever its slot says. */
static void as_journalled(struct shim *s, const struct record *r)
{
	struct rec_exec_exit ended;
	struct rec_exec begun;
	struct exec_slot *slot;

	if (r->type == RECORD_EXEC_STARTED && r->body_len >= sizeof(begun)) {
		memcpy(&begun, record_body(r), sizeof(begun));
		slot = slot_of(s, begun.id);
		if (slot && slot->pid == begun.pid)
			slot->unseen = 0;
	} else if (r->type == RECORD_EXEC_EXITED && r->body_len >= sizeof(ended)) {
		memcpy(&ended, record_body(r), sizeof(ended));
		slot = slot_of(s, ended.id);
		if (slot && slot->pid == ended.pid)
			slot->pid = 0;
	}
}

static void read_journal(struct shim *s)
{
	struct journal_reader reader;
	const struct record *r;
	uint64_t missed;
	int got;

	if (journal_reader_open(&reader, SHIM_FD_STATE, 0) < 0)
		return;
	while ((got = journal_reader_next(&reader, &r, &missed)) > 0)
		if (got == JOURNAL_RECORD)
			as_journalled(s, r);
	journal_reader_finish(&reader);
}

/* One that was not told to go on never ran. If nobody was told of it either, it never was: its
 * request, which is in its socket still, begins it anew. */
static void forget_unborn(struct shim *s)
{
	for (unsigned i = 0; s->shared && i < EXEC_SLOTS; i++)
		if (s->shared->execs[i].unseen)
			s->shared->execs[i] = (struct exec_slot){0};
}

void exec_alone_recover(struct shim *s)
{
	if (shim_has_init(s))
		return;
	if (under_way(s))
		read_journal(s);
	forget_unborn(s);
	execs_lost(s);
}

int exec_alone_each(struct shim *s, int (*give)(void *ctx, uint64_t key, int fd), void *ctx)
{
	int r = 0;

	for (const struct exec_alone *e = s->execs_alone; r == 0 && e; e = e->next)
		r = give(ctx, e->id, e->process.fd);
	return r;
}
