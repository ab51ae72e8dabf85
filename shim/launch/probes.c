/* What a supervisor outside needs to look at a service inside: a socket for each probe, made in the
 * container's network namespace, and the container's root directory for probes of a unix socket.
 * The keeper holds them; a supervisor without a privilege can use them, and PID 1 knows nothing of
 * it. One socket serves for ever: connect(2) to AF_UNSPEC takes it back to the beginning. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/channel.h"
#include "ipc/health.h"
#include "shim/launch/launch.h"
#include "shim/launch/recipe.h"

int step_health(struct launch *l)
{
	if (!launch_flag(l, SETTINGS_HEALTH))
		return 0;
	l->health = malloc(sizeof(*l->health));
	return l->health ? health_read(l->state, l->health) : fault(-ENOMEM, "probes");
}

static int deposit(const struct launch *l, uint32_t kind, uint64_t key, int fd)
{
	struct held name = {.kind = kind, .key = key};
	int r = channel_send(l->sync, SYNC_HOLD, 0, &name, sizeof(name), &fd, 1);

	return r < 0 ? fault(r, "hand out a socket for probes") : 0;
}

static int make_socket(const struct launch *l, uint32_t i)
{
	auto_fd fd = socket(l->health->probes[i].v6 ? AF_INET6 : AF_INET,
		SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? fault(-errno, "socket for a probe") : deposit(l, HELD_PROBE, i, fd);
}

int step_probes(struct launch *l)
{
	bool wants_root = false;
	auto_fd root = -1;
	int r = 0;

	for (uint32_t i = 0; l->health && r == 0 && i < l->health->count; i++) {
		wants_root |= l->health->probes[i].how == PROBE_UNIX;
		if (l->health->probes[i].how == PROBE_TCP || l->health->probes[i].how == PROBE_HTTP)
			r = make_socket(l, i);
	}
	if (r < 0 || !wants_root)
		return r;
	root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return root < 0 ? fault(-errno, "open the root") : deposit(l, HELD_ROOT, 0, root);
}
