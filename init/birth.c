#include "init/birth.h"

#include <errno.h>
#include <fcntl.h>
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

/* Binds below the directory descriptor: a state directory's path may be longer than sun_path. */
int birth_listener(struct store *store)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "/proc/self/fd/3/sock"};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), err = 0;
	mode_t mask;

	if (fd < 0)
		return -errno;
	/* We hold the lock: a socket that is there belongs to a pair that has died. */
	unlinkat(KEEPER_FD_STATE, "sock", 0);
	mask = umask(077);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, LISTEN_BACKLOG) < 0)
		err = errno;
	umask(mask); /* children inherit it, and launch makes directories */
	if (err) {
		close(fd);
		return -err;
	}
	return store_put(store, (struct held){.kind = HELD_LISTENER}, fd, false);
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
