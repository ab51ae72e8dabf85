/* The listeners of a service: made by launch, used by the service, held here and by the keeper. */
#include <sys/socket.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/log.h"
#include "ipc/base/mem.h"
#include "ipc/fds.h"
#include "shim/shim.h"

void listeners_init(struct shim *s)
{
	for (unsigned i = 0; i < LISTEN_MAX; i++)
		s->listeners[i] = -1;
}

void listeners_held(struct shim *s, uint64_t key, int fd)
{
	if (key >= LISTEN_MAX) {
		fd_close(&fd);
		return;
	}
	fd_close(&s->listeners[key]);
	s->listeners[key] = fd;
}

/* The keeper closes its own a moment later: till then nobody may wait there for an answer. */
static void close_one(struct shim *s, unsigned i)
{
	if (s->listeners[i] < 0)
		return;
	shutdown(s->listeners[i], SHUT_RDWR);
	fd_close(&s->listeners[i]);
	link_keeper_drop(s, HELD_LISTEN, i);
}

void listeners_close(struct shim *s)
{
	auto_free struct listen_addr *list = calloc(LISTEN_MAX, sizeof(*list));
	int n = list && (s->settings.flags & SETTINGS_LISTEN) ? listen_read(SHIM_FD_STATE, list)
							      : 0;

	if (n < 0)
		log_warn("%s", fault_text());
	for (int i = 0; i < n; i++)
		listen_unlink(&list[i], s->listeners[i]);
	for (unsigned i = 0; i < LISTEN_MAX; i++)
		close_one(s, i);
}
