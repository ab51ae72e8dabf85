#include "cli/adopt.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/control.h"
#include "cli/keeper_start.h"
#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/proc.h"
#include "ipc/health.h"
#include "ipc/listen.h"
#include "ipc/verbs.h"
#include "monitor/cgfreeze.h"

#define DOOR_USEC      (2 * USEC_PER_SEC) /* PID 1 answers in microseconds, if it can */
#define DOOR_STEP_MS   2
#define HANDED_MAX     512 /* more than PID 1 can have */
#define HANDOVER_BYTES (1 << 20)
#define PTMX_MAJOR     5
#define PRESSURE_KINDS 3

struct adoption {
	const struct state *s;
	const struct history *h;
	uint64_t until;
	int pidfd, door;
	int heir[2]; /* of the handover: our end, the new keeper's */
	bool has_shared;
	uint64_t newest_conn; /* PID 1 remembers what was asked of it, by connection */
};

/* What PID 1 hands out ------------------------------------------------------------------------- */

static bool is_socket(int fd, int type)
{
	socklen_t len = sizeof(int);
	int domain, got;

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &got, &len) == 0 && got == type;
}

static bool is_probe(int fd)
{
	socklen_t len = sizeof(int);
	int domain, type;

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
	       (domain == AF_INET || domain == AF_INET6) &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
}

static bool has_mode(int fd, mode_t want)
{
	struct stat st;

	return fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == want;
}

/* Only memory that can't shrink under who maps it: a file of another kind may block its reader, or
 * kill it. */
static bool is_shared(int fd)
{
	const int want = F_SEAL_SHRINK | F_SEAL_GROW;
	int seals = fcntl(fd, F_GET_SEALS);
	struct shared head;
	struct stat st;

	return seals >= 0 && (seals & want) == want && fstat(fd, &st) == 0 &&
	       st.st_size == (off_t)SHARED_SIZE &&
	       pread(fd, &head, sizeof(head), 0) == sizeof(head) && head.magic == SHARED_MAGIC &&
	       head.version == SHARED_VERSION;
}

static bool is_terminal(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && major(st.st_rdev) == PTMX_MAJOR &&
	       minor(st.st_rdev) == 2;
}

/* Is it what a supervisor expects under this name? */
static bool fits(const struct held *name, int fd)
{
	switch (name->kind) {
	case HELD_SHARED:
		return is_shared(fd);
	case HELD_TTY:
		return is_terminal(fd);
	case HELD_STDIN:
	case HELD_TTY_PIPE_RD:
	case HELD_TTY_PIPE_WR:
		return has_mode(fd, S_IFIFO);
	case HELD_LISTEN:
		return name->key < LISTEN_MAX && has_mode(fd, S_IFSOCK);
	case HELD_STORED:
		return name->key != 0; /* the service's own affair: it is only given back */
	case HELD_NOTIFY:
		return is_socket(fd, SOCK_DGRAM);
	case HELD_PROBE:
		return name->key < PROBES_MAX && is_probe(fd);
	case HELD_ROOT:
		return has_mode(fd, S_IFDIR);
	case HELD_PRESSURE:
		return name->key < PRESSURE_KINDS && is_socket(fd, SOCK_STREAM);
	case HELD_PRESSURE_CONN:
		return is_socket(fd, SOCK_STREAM);
	case HELD_SPOOL:
		return name->key < SPOOL_STREAMS && has_mode(fd, S_IFREG) &&
		       fcntl(fd, F_GET_SEALS) >= 0;
	default:
		return false;
	}
}

/* Nobody who hands it out can make a supervisor wait. What is the service's is left as it is. */
static void nonblock(const struct held *name, int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0 && !(flags & O_NONBLOCK) && name->kind != HELD_LISTEN &&
		name->kind != HELD_STORED)
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

static void note_conn(struct adoption *a, uint64_t id)
{
	if (id > a->newest_conn)
		a->newest_conn = id;
}

/* What PID 1 has been asked for by connections that are gone must not be taken for what new ones
 * ask: those get higher numbers. The highest bits are not connections' (shim/clients.c). */
static void note_conns(struct adoption *a, int fd)
{
	struct shared m;

	if (pread(fd, &m, sizeof(m), 0) != sizeof(m))
		return;
	for (unsigned i = 0; i < EXEC_SLOTS; i++)
		if (!(m.execs[i].id & EXEC_IS_PROBE))
			note_conn(a, m.execs[i].id);
	for (unsigned i = 0; i < ONCE_SLOTS; i++)
		if (!(m.once[i].tag >> 62 & 1))
			note_conn(a, m.once[i].tag >> 32 & INT32_MAX);
	a->has_shared = true;
}

/* The door ------------------------------------------------------------------------------------- */

static int gone(void)
{
	return fault_plain(-ESRCH, "its PID 1 has just ended");
}

static int silent(void)
{
	return fault_plain(-ETIMEDOUT, "its PID 1 does not answer for %d s (stopped, perhaps)",
		(int)(DOOR_USEC / USEC_PER_SEC));
}

/* A pid may be another process's by now: only with its start time, and the boot, it is the one. */
static int identify(struct adoption *a)
{
	a->pidfd = a->h->init_pid > 1 ? pidfd_open_pid(a->h->init_pid) : -ESRCH;
	if (a->pidfd < 0 || !a->h->init_starttime ||
		proc_starttime(a->h->init_pid) != a->h->init_starttime)
		return gone();
	return 0;
}

static int try_connect(const struct adoption *a)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	auto_fd fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/" DOOR_NAME, a->s->dirfd);
	return connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : fd_take(&fd);
}

static int knock(struct adoption *a)
{
	struct ucred peer = {0};
	socklen_t len = sizeof(peer);

	while ((a->door = try_connect(a)) == -EAGAIN) {
		if (now_mono() > a->until)
			return silent();
		poll(NULL, 0, DOOR_STEP_MS); /* others knock as well */
	}
	if (a->door == -ENOENT)
		return fault_plain(-ENXIO, "its PID 1 has no door (started by an older release)");
	if (a->door < 0)
		return fault(a->door, "the door of its PID 1");
	/* of whoever called listen() */
	if (getsockopt(a->door, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return fault(-errno, "who is at its door");
	if (peer.pid != a->h->init_pid)
		return fault_plain(-EPERM, "at its door is process %d, not PID 1 (%d)", peer.pid,
			a->h->init_pid);
	return 0;
}

/* The next packet that PID 1 may send; its descriptors are the caller's to finish. */
static int hear(struct adoption *a, struct packet *p)
{
	struct pollfd in = {.fd = a->door, .events = POLLIN};
	uint64_t now;
	int r;

	while ((now = now_mono()) < a->until) {
		r = channel_recv(a->door, p, 1);
		if (r == 0)
			return fault_plain(-ECONNRESET, "its PID 1 has shut the door");
		if (r > 0 && verb_check(FROM_INIT, &p->h))
			return 0;
		if (r > 0)
			packet_finish(p);
		else if (r != -EAGAIN && r != -EBADMSG)
			return fault(r, "hear from its PID 1");
		if (r == -EAGAIN)
			poll(&in, 1, (int)((a->until - now) / USEC_PER_MSEC) + 1);
	}
	return silent();
}

static int give(struct adoption *a, const struct held *name, int fd)
{
	int r = channel_send(a->heir[0], KEEPER_HOLD, 0, name, sizeof(*name), &fd, 1);

	return r < 0 ? fault(r, "hand over descriptor %u", name->kind) : 0;
}

static int receive(struct adoption *a, struct packet *p)
{
	auto_fd fd = packet_take_fd(p, 0);
	struct held name;

	memcpy(&name, p->body, sizeof(name));
	name.pad = 0;
	if (fd < 0 || !fits(&name, fd)) {
		complain("warning: %s: PID 1 handed out something that is no descriptor %u",
			a->s->id, name.kind);
		return 0;
	}
	nonblock(&name, fd);
	if (name.kind == HELD_SHARED)
		note_conns(a, fd);
	return give(a, &name, fd);
}

/* 1: it has handed out a thing; 0: there are no more; or a fault. */
static int ask(struct adoption *a, uint32_t at)
{
	struct u32_req req = {.value = at};
	struct packet p;
	int r;

	a->until = now_mono() + DOOR_USEC; /* one answer's time, not all of theirs */
	r = channel_send(a->door, INIT_HAND, 0, &req, sizeof(req), NULL, 0);

	if (r < 0)
		return fault(r, "ask its PID 1");
	while ((r = hear(a, &p)) == 0) {
		uint16_t verb = p.h.verb;

		if (verb == INIT_HANDED)
			r = receive(a, &p);
		packet_finish(&p); /* of doorbells, too: a shim hears all of that again */
		if (r < 0 || verb == INIT_REPLY)
			return r;
		if (verb == INIT_HANDED)
			return 1;
	}
	return r;
}

static int heir_open(struct adoption *a)
{
	int size = HANDOVER_BYTES;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, a->heir) < 0)
		return fault(-errno, "socketpair");
	if (setsockopt(a->heir[0], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(a->heir[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return 0;
}

/* All that the new keeper shall hold lies in its channel when it begins. */
static int collect(struct adoption *a)
{
	const struct held channel = {.kind = HELD_INIT_CHANNEL}, pid = {.kind = HELD_INIT_PIDFD};
	int r = heir_open(a), more = 1;

	for (uint32_t at = 0; r == 0 && more == 1 && at < HANDED_MAX; at++) {
		more = ask(a, at);
		r = more < 0 ? more : 0;
	}
	if (r == 0 && !a->has_shared)
		r = fault_plain(-EBADMSG, "its PID 1 has handed out no shared memory");
	if (r == 0)
		r = give(a, &channel, a->door);
	if (r == 0)
		r = give(a, &pid, a->pidfd);
	if (r == 0)
		r = channel_send(a->heir[0], KEEPER_READY, a->newest_conn, NULL, 0, NULL, 0);
	if (r == 0 && pidfd_dead(a->pidfd))
		r = gone(); /* else its pid was nobody else's all the while */
	return r;
}

/* PID 1 stands still with its container, and could not answer. The new shim makes the group as the
 * journal says. */
static int let_go(const struct adoption *a, const struct settings *settings)
{
	struct cghier hier;
	int r = a->h->paused ? cghier_find(&hier) : 0;

	return a->h->paused && r == 0 ? cgfs_freeze(&hier, settings->cgroup, false) : r;
}

static int enter(struct adoption *a)
{
	struct settings settings;
	int r = settings_read(a->s->dirfd, &settings);

	if (r == 0 && settings.flags & SETTINGS_NO_INIT)
		r = fault_plain(-EOPNOTSUPP,
			"there is no init in it that could hand anything out (--init none)");
	if (r == 0)
		r = identify(a);
	if (r == 0)
		r = let_go(a, &settings);
	if (r == 0)
		r = knock(a);
	return r == 0 ? collect(a) : r;
}

static void finish(struct adoption *a)
{
	fd_close(&a->pidfd);
	fd_close(&a->door);
	fd_close(&a->heir[0]);
	fd_close(&a->heir[1]);
}

/* The new keeper's channel, with all in it, or a fault. */
static int come_in(const struct state *s, const struct history *h)
{
	struct adoption a = {.s = s,
		.h = h,
		.until = now_mono() + DOOR_USEC,
		.pidfd = -1,
		.door = -1,
		.heir = {-1, -1}};
	int r = enter(&a);

	if (r == 0)
		r = fd_take(&a.heir[1]);
	finish(&a);
	return r;
}

static bool lives(const struct history *h)
{
	auto_fd pidfd = h->init_pid > 1 ? pidfd_open_pid(h->init_pid) : -1;

	return pidfd >= 0 && h->init_starttime &&
	       proc_starttime(h->init_pid) == h->init_starttime && !pidfd_dead(pidfd);
}

/* 1: it may run, and its PID 1 does; 0: it has ended, never ran, or lost its PID 1; or a fault. */
static int is_orphan(const struct state *s, struct history *h)
{
	bool stale;
	int r = state_history(s, h, &stale);

	if (r < 0)
		return r;
	return !stale && h->state != LIFE_NEW && h->state != LIFE_DOWN &&
	       h->state != LIFE_REMOVED && lives(h);
}

int adopt_or_end(const struct state *s, int lock)
{
	struct history h;
	int inherit = -1, r = is_orphan(s, &h);

	if (r > 0) {
		inherit = come_in(s, &h);
		if (inherit < 0)
			complain("warning: \"%s\" can't be adopted, so its service is ended: %s",
				s->id, fault_text());
	}
	if (r < 0) {
		fd_close(&lock);
		return r;
	}
	return keeper_start(s, lock, inherit < 0 ? -1 : inherit);
}

static int adopt_locked(const struct state *s, int lock)
{
	struct history h;
	int r = state_current(s) ? is_orphan(s, &h) : 0, inherit;

	if (r <= 0) {
		fd_close(&lock);
		return r < 0 ? r : ADOPT_NOTHING;
	}
	inherit = come_in(s, &h);
	if (inherit < 0) {
		char why[256];

		fd_close(&lock);
		snprintf(why, sizeof(why), "%s", fault_text());
		return fault_plain(inherit,
			"nobody supervises \"%s\", and it can't be adopted: %s (holdfast stop or rm -f ends it)",
			s->id, why);
	}
	r = keeper_start(s, lock, inherit);
	return r < 0 ? r : ADOPT_DONE;
}

int adopt(const struct state *s)
{
	struct history h;
	int lock, r = state_supervised(s);

	if (r != 0)
		return r < 0 ? r : ADOPT_NOTHING;
	r = is_orphan(s, &h);
	if (r <= 0)
		return r < 0 ? r : ADOPT_NOTHING;
	lock = state_lock(s);
	if (lock == -EAGAIN) /* another command is doing the same */
		return ADOPT_DONE;
	/* under it once more: what was true before may be so no longer */
	return lock < 0 ? lock : adopt_locked(s, lock);
}
