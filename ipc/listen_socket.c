/* Making a listener, and taking its file away. */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/listen.h"

#ifndef SIOCUNIXFILE
#define SIOCUNIXFILE 0x89e0 /* linux/un.h, which clashes with sys/un.h: the file as O_PATH */
#endif

static const struct sockaddr *addr_of(const struct listen_addr *a)
{
	return (const void *)a->addr;
}

/* A socket file without a socket behind it refuses; any other answer comes from somebody. */
static bool is_stale(const struct listen_addr *a)
{
	auto_fd fd = -1;
	struct stat st;

	if (lstat(listen_path(a), &st) != 0 || !S_ISSOCK(st.st_mode))
		return false;
	fd = socket(AF_UNIX, (int)a->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return fd >= 0 && connect(fd, addr_of(a), a->len) != 0 && errno == ECONNREFUSED;
}

/* The file has its mode from its first instant: bind(2) makes it with the umask's. */
static int bind_file(int fd, const struct listen_addr *a)
{
	mode_t mask = umask(0777 & ~(mode_t)a->mode);
	int r = bind(fd, addr_of(a), a->len) == 0 ? 0 : -errno;

	if (r == -EADDRINUSE && is_stale(a) && unlink(listen_path(a)) == 0)
		r = bind(fd, addr_of(a), a->len) == 0 ? 0 : -errno;
	umask(mask);
	if (r == 0 && (a->uid || a->gid) && lchown(listen_path(a), a->uid, a->gid) != 0) {
		r = -errno;
		unlink(listen_path(a));
	}
	return r;
}

static int bind_v4_any(const struct listen_addr *a)
{
	const struct sockaddr_in6 *v6 = (const void *)a->addr;
	struct listen_addr v4 = *a;

	v4.both = 0;
	v4.len = sizeof(struct sockaddr_in);
	memset(v4.addr, 0, sizeof(v4.addr));
	((struct sockaddr_in *)(void *)v4.addr)->sin_family = AF_INET;
	((struct sockaddr_in *)(void *)v4.addr)->sin_port = v6->sin6_port;
	return listen_open(&v4);
}

static int refused(const struct listen_addr *a, int err)
{
	if (err == -EADDRINUSE)
		return fault_plain(err,
			"listen on %s: the address is in use (stop what has it, or choose another)",
			listen_text(a));
	return fault(err, "listen on %s", listen_text(a));
}

/* SO_REUSEADDR for streams alone: connections of an earlier life that linger in TIME_WAIT are no
 * reason to refuse. For datagrams it would let two sockets have one port. */
static int prepare(int fd, const struct listen_addr *a)
{
	int on = 1, v6only = !a->both;

	if (addr_of(a)->sa_family == AF_UNIX)
		return 0;
	if (a->type == SOCK_STREAM &&
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0)
		return -errno;
	if (addr_of(a)->sa_family == AF_INET6 &&
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only)) != 0)
		return -errno;
	return 0;
}

int listen_open(const struct listen_addr *a)
{
	auto_fd fd = socket(addr_of(a)->sa_family, (int)a->type | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0 && errno == EAFNOSUPPORT && a->both)
		return bind_v4_any(a);
	if (fd < 0)
		return refused(a, -errno);
	r = prepare(fd, a);
	if (r == 0)
		r = listen_path(a)			? bind_file(fd, a)
		    : bind(fd, addr_of(a), a->len) == 0 ? 0
							: -errno;
	/* of two sockets that share a port by SO_REUSEADDR only one can listen */
	if (r == 0 && a->type != SOCK_DGRAM && listen(fd, LISTEN_BACKLOG) != 0) {
		r = -errno;
		listen_unlink(a, fd);
	}
	if ((r == -EADDRNOTAVAIL || r == -EAFNOSUPPORT) && a->both) /* IPv6 is switched off */
		return bind_v4_any(a);
	return r < 0 ? refused(a, r) : fd_take(&fd);
}

void listen_unlink(const struct listen_addr *a, int fd)
{
	auto_fd file = fd >= 0 ? ioctl(fd, SIOCUNIXFILE, 0) : -1;
	struct stat ours, there;

	if (!listen_path(a) || lstat(listen_path(a), &there) != 0)
		return;
	/* somebody may have put his own into its place meanwhile */
	if (file >= 0 ? fstat(file, &ours) == 0 && ours.st_ino == there.st_ino &&
				ours.st_dev == there.st_dev
		      : is_stale(a))
		unlink(listen_path(a));
}
