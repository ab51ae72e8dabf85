#include "tests/fuzz/shim_rig.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/base/fd.h"
#include "ipc/base/log.h"
#include "ipc/channel.h"
#include "ipc/fds.h"
#include "tests/fuzz/fuzz.h"

static void ignore(struct loop_io *io)
{
	rig_drain(io->fd);
}

static void ignore_output(struct pump *p, void *ctx)
{
}

static void on_timer(struct loop_timer *t)
{
}

static void on_appended(void *ctx)
{
	serve_changed(ctx);
}

static void channels(struct rig *rig)
{
	struct shim *s = &rig->shim;
	int pair[2];

	claim(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	loop_io_start(&s->keeper, &s->loop, pair[0], ignore, s);
	rig->keeper = pair[1];
	claim(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	link_init_attach(s, pair[0]);
	rig->init = pair[1];
}

/* Everything that shim_init() does for a shim that goes on, except for asking the kernel. */
void rig_open(struct rig *rig)
{
	struct shim *s = &rig->shim;
	int dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), memory;

	memset(rig, 0, sizeof(*rig));
	claim(dir >= 0 && dup2(dir, SHIM_FD_STATE) == SHIM_FD_STATE);
	close(dir);
	unlinkat(SHIM_FD_STATE, "journal", 0);
	log_init("fuzz", "fuzz");
	s->keeper.fd = s->init.fd = s->init_pidfd.fd = -1;
	s->sync_pidfd = s->shared_fd = s->tty = s->stdin_fd = -1;
	s->tty_pipe[0] = s->tty_pipe[1] = s->spools[0] = s->spools[1] = s->calls_held = -1;
	listeners_init(s);
	for (int i = 0; i < SOCKETS; i++)
		s->sockets[i] = -1;
	s->log_dirfd = SHIM_FD_STATE;
	claim(loop_init(&s->loop) == 0);
	policy_defaults(&s->settings.policy);
	snprintf(s->settings.id, sizeof(s->settings.id), "fuzz");
	snprintf(s->settings.realm, sizeof(s->settings.realm), "local");
	snprintf(s->settings.cgroup, sizeof(s->settings.cgroup), "/holdfast-fuzz/none");
	s->settings.real_created = 1;
	s->settings.log_max_files = 1;
	s->settings.log_max_bytes = 1 << 20;
	loop_timer_init(&s->fresh_timer, &s->loop, on_timer, s); /* what they do is shim.c's own */
	loop_timer_init(&s->progress_timer, &s->loop, on_timer, s);
	loop_timer_init(&s->settle_timer, &s->loop, on_timer, s);
	link_init_setup(s);
	notify_setup(s);
	health_setup(s);
	stop_setup(s);
	retire_setup(s);
	takeover_setup(s);
	post_mortem_setup(s);
	serve_setup(s);
	post_mortem_setup(s);
	claim(journal_open(&s->journal, SHIM_FD_STATE, s->settings.id) >= 0);
	s->journal.appended = on_appended;
	s->journal.ctx = s;
	claim(pump_start(&s->pump, &s->loop, s->log_dirfd, &s->settings, ignore_output, s) == 0);
	channels(rig);
	memory = memfd_create("shared", MFD_CLOEXEC);
	claim(memory >= 0 && ftruncate(memory, SHARED_SIZE) == 0);
	claim(link_init_map(s, memory) == 0);
	claim(serve_open(s, -1) == 0);
}

void rig_drain(int fd)
{
	struct packet p;

	while (channel_recv(fd, &p, 1) > 0)
		packet_finish(&p);
}

void rig_reset(struct rig *rig)
{
	const struct rec_started started = {.pid = 1000, .init_pid = 999};
	struct shim *s = &rig->shim;
	struct journal *j = &s->journal;

	serve_finish(s);
	post_mortem_finish(s);
	rig_turn(rig);
	j->end = sizeof(struct journal_head);
	claim(ftruncate(j->fd, (off_t)j->end) == 0);
	history_init(&j->now);
	j->file++; /* nobody's place is in it any more */
	j->marks_len = 0;
	j->lost = 0;
	memset(s->shared, 0, sizeof(*s->shared));
	policy_init(&s->shared->policy, 1);
	memset(s->calls.table->conns, 0, sizeof(s->calls.table->conns));
	memset(s->calls.table->calls, 0, sizeof(s->calls.table->calls));
	s->queued = 0;
	s->in_event = s->remove = s->retiring = s->retired = s->first_failed = false;
	s->stop_tag = s->sync_tag = 0;
	s->phase = PHASE_RUNNING;
	s->service_pid = started.pid;
	s->shared->run = 1;
	journal_append(j, RECORD_CREATED, 0, 0, NULL, 0);
	journal_append(j, RECORD_STARTED, 0, 1, &started, sizeof(started));
	rig_drain(rig->init);
	rig_drain(rig->keeper);
}

void rig_turn(struct rig *rig)
{
	ev_run(rig->shim.loop.ev, EVRUN_NOWAIT);
}
