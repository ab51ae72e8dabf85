#include "init/door.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "init/pid1.h"
#include "init/report.h"

static struct door_kept *find(struct door *d, const struct held *name)
{
	for (uint32_t i = 0; i < d->count; i++)
		if (d->kept[i].name.kind == name->kind && d->kept[i].name.key == name->key)
			return &d->kept[i];
	return NULL;
}

void door_unkeep(struct door *d, const struct held *name)
{
	struct door_kept *k = find(d, name);

	if (!k)
		return;
	close(k->fd);
	*k = d->kept[--d->count];
}

void door_keep(struct door *d, const struct held *name, int fd)
{
	door_unkeep(d, name);
	if (d->count < DOOR_KEPT_MAX) {
		struct door_kept *k = &d->kept[d->count];

		k->name = *name;
		k->fd = fcntl(fd, F_DUPFD_CLOEXEC, PLAN_PASSED_LIMIT);
		d->count += k->fd >= 0;
	}
	close(fd);
}

int door_find(const struct door *d, uint32_t kind)
{
	for (uint32_t i = 0; i < d->count; i++)
		if (d->kept[i].name.kind == kind)
			return d->kept[i].fd;
	return -1;
}

/* The kernel shows a peer outside our pid namespace as process 0. One from inside has found a way
 * to the host's directory (a volume, perhaps), and gets nothing by it. */
void door_answer(struct pid1 *p)
{
	struct ucred peer = {.pid = -1};
	socklen_t len = sizeof(peer);
	int fd = accept4(PLAN_FD_DOOR, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid == 0 &&
		dup3(fd, PLAN_FD_CHANNEL, O_CLOEXEC) >= 0) {
		p->connected = true;
		report_hello(p);
	}
	close(fd);
}

int door_nth(const struct pid1 *p, uint32_t at, struct held *name)
{
	static const struct {
		uint8_t kind, fd;
	} ours[] = {{HELD_SHARED, PLAN_FD_SHARED}, {HELD_TTY, PLAN_FD_TTY}};

	*name = (struct held){0};
	for (uint32_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (pid1_has(p, (enum plan_fd)ours[i].fd) && at-- == 0) {
			name->kind = ours[i].kind;
			return ours[i].fd;
		}
	for (uint32_t i = 0; i < STREAMS; i++)
		if (p->spool.fd[i] >= 0 && at-- == 0) {
			*name = (struct held){.kind = HELD_SPOOL, .key = i};
			return p->spool.fd[i];
		}
	if (at < p->kept.listeners) {
		*name = (struct held){.kind = HELD_LISTEN, .key = at};
		return PLAN_FD_PASSED + (int)at;
	}
	at -= p->kept.listeners;
	if (at < p->kept.stored) {
		*name = (struct held){.kind = HELD_STORED, .key = p->kept.table[at].key};
		return p->kept.table[at].fd;
	}
	at -= p->kept.stored;
	if (at >= p->door.count)
		return -1;
	*name = p->door.kept[at].name;
	return p->door.kept[at].fd;
}
