/* What the service is given besides its stdio: listeners, made here when the keeper does not hold
 * them yet, and descriptors that an earlier run has stored. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/mem.h"
#include "ipc/listen.h"
#include "ipc/stored.h"
#include "shim/launch/launch.h"
#include "shim/launch/mnt.h"
#include "shim/launch/recipe.h"

#define FIRST_FD	 3
#define PRESSURE_BACKLOG 64

/* By enum pressure_kind (shim/pressure_feed.h). */
static const char *const pressure_names[] = {"memory-pressure", "cpu-pressure", "io-pressure"};

/* What the keeper holds of ours, as it tells before it says which launch this is. */
static struct holding {
	int listener[LISTEN_MAX];
	struct {
		uint64_t key;
		int fd;
	} stored[PLAN_STORED_MAX];
	uint32_t count;
} holding;

static void note_held(struct holding *h, const struct held *name, int fd)
{
	if (name->kind == HELD_LISTEN && name->key < LISTEN_MAX && h->listener[name->key] < 0) {
		h->listener[name->key] = fd;
	} else if (name->kind == HELD_STORED && h->count < PLAN_STORED_MAX) {
		h->stored[h->count].key = name->key;
		h->stored[h->count++].fd = fd;
	} else {
		fd_close(&fd);
	}
}

int pass_hear(struct launch *l)
{
	static struct packet p;
	struct held name;
	int r;

	for (unsigned i = 0; i < LISTEN_MAX; i++)
		holding.listener[i] = -1;
	for (;;) {
		r = channel_recv(l->channel, &p, 0);
		if (r == -EINTR || r == -EBADMSG)
			continue;
		if (r <= 0)
			return LAUNCH_UNWANTED;
		if (p.h.verb == KEEPER_HELD_END) {
			l->nonce = p.h.tag;
			return 0;
		}
		if (p.h.verb == KEEPER_HELD && verb_check(FROM_KEEPER, &p.h)) {
			memcpy(&name, p.body, sizeof(name));
			note_held(&holding, &name, packet_take_fd(&p, 0));
		}
		packet_finish(&p);
	}
}

static void add(struct launch *l, int fd, uint64_t key, const char *name)
{
	struct launch_passed *p = &l->passed[l->passed_count++];

	p->fd = fd;
	p->key = key;
	snprintf(p->name, sizeof(p->name), "%.255s", name);
}

static int add_listeners(struct launch *l, const struct holding *h)
{
	static struct listen_addr list[LISTEN_MAX];
	int n = listen_read(l->state, list), fd, r;

	for (int i = 0; i < n; i++) {
		fd = h->listener[i];
		if (fd < 0) {
			fd = listen_open(&list[i]);
			r = fd < 0 ? fd : launch_hold(l, HELD_LISTEN, (uint64_t)i, fd);
			if (r < 0)
				return r;
		}
		add(l, fd, 0, list[i].name);
		l->listeners++;
	}
	return n < 0 ? n : 0;
}

static int by_key(const void *a, const void *b)
{
	const struct launch_passed *p = a, *q = b;

	return p->key < q->key ? -1 : p->key > q->key;
}

/* In the order in which they were stored. */
static int add_stored(struct launch *l, const struct holding *h)
{
	static struct stored_name names[PLAN_STORED_MAX];
	int n = stored_read(l->state, names);

	for (uint32_t i = 0; i < h->count && n >= 0; i++) {
		const char *name = "stored";

		for (int k = 0; k < n; k++)
			if (names[k].key == h->stored[i].key)
				name = names[k].name;
		add(l, h->stored[i].fd, h->stored[i].key, name);
	}
	qsort(l->passed + l->listeners, h->count, sizeof(*l->passed), by_key);
	return n < 0 ? n : 0;
}

int step_listeners(struct launch *l)
{
	int r = 0;

	if (!launch_flag(l, SETTINGS_LISTEN | SETTINGS_NOTIFY | SETTINGS_NOTIFY_SOCKET))
		return 0;
	if (launch_flag(l, SETTINGS_LISTEN))
		r = add_listeners(l, &holding);
	return r < 0 ? r : add_stored(l, &holding);
}

/* Notifications --------------------------------------------------------------------------------
 */

/* Any user of the container's may use it. */
static int bind_in(int dir, const char *name, int fd)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	mode_t mask = umask(0111);
	int r;

	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/%s", dir, name);
	r = bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 ? 0 : -errno;
	umask(mask);
	return r < 0 ? fault(r, "bind the socket %s", name) : 0;
}

/* Of datagrams, with the sender's ids and the time of sending on each: a supervisor that reads it
 * late still knows whose it is. */
static int notify_socket(int dir)
{
	auto_fd fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1, r;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) != 0 ||
		setsockopt(fd, SOL_SOCKET, SO_TIMESTAMP, &on, sizeof(on)) != 0)
		return fault(-errno, "socket for notifications");
	r = bind_in(dir, "notify", fd);
	return r < 0 ? r : fd_take(&fd);
}

static int hold_notify(const struct launch *l, int dir)
{
	auto_fd fd = notify_socket(dir);

	return fd < 0 ? fd : launch_hold(l, HELD_NOTIFY, 0, fd);
}

/* Where a service asks to be warned, by systemd's protocol (MEMORY_PRESSURE_WATCH and its like). */
static int hold_pressure(const struct launch *l, int dir)
{
	for (uint64_t kind = 0; kind < array_size(pressure_names); kind++) {
		auto_fd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		int r = fd < 0 ? fault(-errno, "socket for pressure")
			       : bind_in(dir, pressure_names[kind], fd);

		if (r == 0 && listen(fd, PRESSURE_BACKLOG) != 0)
			r = fault(-errno, "listen for pressure");
		if (r == 0)
			r = launch_hold(l, HELD_PRESSURE, kind, fd);
		if (r < 0)
			return r;
	}
	return 0;
}

/* On a file system of its own, made by the host's root and read-only inside: nobody there can
 * replace it, and connecting to a socket needs no write to its mount. */
int step_notify(struct launch *l)
{
	static const char *const options[] = {"mode=0755", "nr_inodes=8", "size=4096", NULL};
	const uint32_t talks = SETTINGS_NOTIFY | SETTINGS_NOTIFY_SOCKET;
	const char *why;
	int r;

	if (!launch_flag(l, talks | SETTINGS_PRESSURE))
		return 0;
	l->notify = mnt_new(
		"tmpfs", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, options, &why);
	if (l->notify < 0)
		return fault(l->notify, "tmpfs for notifications: %s", why);
	r = launch_flag(l, talks) ? hold_notify(l, l->notify) : 0;
	if (r == 0 && launch_flag(l, SETTINGS_PRESSURE))
		r = hold_pressure(l, l->notify);
	if (r < 0)
		return r;
	r = mnt_attr(l->notify, MOUNT_ATTR_RDONLY, 0, false);
	return r < 0 ? fault(r, "tmpfs for notifications: read-only") : 0;
}

/* Without init ---------------------------------------------------------------------------------
 */

static int pass_one(const struct launch *l, uint32_t i)
{
	int to = FIRST_FD + (int)i, flags;

	if (dup2(l->passed[i].fd, to) < 0)
		return -errno;
	if (i >= l->listeners)
		return 0;
	/* both belong to the socket, not to the descriptor: what the last run did to them ends here
	 */
	flags = fcntl(to, F_GETFL);
	if (flags < 0 || fcntl(to, F_SETFL, flags & ~O_NONBLOCK) < 0)
		return -errno;
	listen(to, LISTEN_BACKLOG); /* a datagram socket answers that it can't: nothing to do */
	return 0;
}

int pass_place(struct launch *l)
{
	int first = FIRST_FD + (int)l->passed_count, r = 0;

	if (!l->passed_count)
		return 0;
	/* first all up, then each to its place; the channel too, whose end says that exec worked */
	l->init_channel = fcntl(l->init_channel, F_DUPFD_CLOEXEC, first);
	if (l->init_channel < 0)
		return -errno;
	for (uint32_t i = 0; i < l->passed_count; i++)
		if ((l->passed[i].fd = fcntl(l->passed[i].fd, F_DUPFD_CLOEXEC, first)) < 0)
			return -errno;
	for (uint32_t i = 0; r == 0 && i < l->passed_count; i++)
		r = pass_one(l, i);
	return r;
}

static bool is_ours(const char *variable)
{
	return strncmp(variable, "LISTEN_FDS=", 11) == 0 ||
	       strncmp(variable, "LISTEN_PID=", 11) == 0 ||
	       strncmp(variable, "LISTEN_FDNAMES=", 15) == 0;
}

int pass_env(const struct launch *l, char **env)
{
	static char names[sizeof("LISTEN_FDNAMES=") + sizeof(l->passed)];
	static char fds[32], pid[32];
	size_t at = 0, kept = 0;

	if (!l->passed_count)
		return 0;
	for (size_t i = 0; env[i]; i++)
		if (!is_ours(env[i]))
			env[kept++] = env[i];
	snprintf(fds, sizeof(fds), "LISTEN_FDS=%u", l->passed_count);
	snprintf(pid, sizeof(pid), "LISTEN_PID=%d", (int)getpid());
	for (uint32_t i = 0; i < l->passed_count; i++)
		at += (size_t)snprintf(names + at, sizeof(names) - at, "%s%s",
			i ? ":" : "LISTEN_FDNAMES=", l->passed[i].name);
	env[kept++] = fds;
	env[kept++] = pid;
	env[kept++] = names;
	env[kept] = NULL;
	return 0;
}
