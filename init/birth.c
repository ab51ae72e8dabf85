#include "init/birth.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/fds.h"
#include "ipc/shared.h"

#define LISTEN_BACKLOG 64

static const struct {
	const char *path; /* below the directory descriptor: sun_path is short */
	int type;
} sockets[SOCKETS] = {
	[SOCKET_TOOL] = {"/proc/self/fd/3/sock", SOCK_SEQPACKET},
	[SOCKET_CONTROL] = {"/proc/self/fd/3/control", SOCK_STREAM},
	[SOCKET_OBSERVE] = {"/proc/self/fd/3/observe", SOCK_STREAM},
};

static int birth_listener(struct store *store, enum container_socket which)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, sockets[which].type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	strcpy(a.sun_path, sockets[which].path);
	/* We hold the lock: a socket that is there belongs to a pair that has died. */
	unlink(a.sun_path);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, LISTEN_BACKLOG) < 0) {
		int err = errno;

		close(fd);
		return -err;
	}
	return store_put(store, (struct held){.kind = HELD_LISTENER, .key = which}, fd, false);
}

int birth_listeners(struct store *store)
{
	mode_t mask = umask(077);
	int r = 0;

	for (int i = SOCKETS; r == 0 && i-- > 0;) /* the tool's last: who finds it finds all */
		r = birth_listener(store, (enum container_socket)i);
	umask(mask); /* children inherit it, and launch makes directories */
	return r;
}

/* Its pages are made here, outside the container's memory limit: init's later stores into it need
 * no charge and cannot fail in a full group. */
int birth_shared(struct store *store)
{
	struct shared *head;
	uint64_t seed = 0;
	int fd = memfd_create("holdfast-shared", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (fallocate(fd, 0, 0, SHARED_SIZE) < 0)
		return -errno;
	/* nobody who maps it can be made to fault by a truncation */
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	head = mmap(0, sizeof(*head), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (head == MAP_FAILED)
		return -errno;
	head->magic = SHARED_MAGIC;
	head->version = SHARED_VERSION;
	head->size = SHARED_SIZE;
	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) < 0)
		seed = now_boot();
	policy_init(&head->policy, seed);
	munmap(head, sizeof(*head));
	return store_put(store, (struct held){.kind = HELD_SHARED}, fd, false);
}
