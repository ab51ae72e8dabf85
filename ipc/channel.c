#include "ipc/channel.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

union control {
	struct cmsghdr align;
	char buf[CMSG_SPACE(sizeof(int) * CHANNEL_FDS_MAX)];
};

int channel_send(int fd, uint16_t verb, uint64_t tag, const void *body, size_t len, const int *fds,
	size_t nfds)
{
	struct msg h = {.verb = verb, .nfds = (uint16_t)nfds, .len = (uint32_t)len, .tag = tag};
	struct iovec iov[2] = {{&h, sizeof(h)}, {(void *)(uintptr_t)body, len}};
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = len ? 2 : 1};
	union control control;
	ssize_t n;

	if (len > CHANNEL_BODY_MAX || nfds > CHANNEL_FDS_MAX)
		return -EMSGSIZE;
	if (nfds) {
		struct cmsghdr *c = &control.align;

		memset(&control, 0, sizeof(control));
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
	}
	do
		n = sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static unsigned take_control(struct msghdr *m, int *fds)
{
	unsigned n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t len;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		len = c->cmsg_len - CMSG_LEN(0);
		for (size_t i = 0; i < len / sizeof(int); i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (n < CHANNEL_FDS_MAX)
				fds[n++] = fd;
			else
				close(fd);
		}
	}
	return n;
}

static int receive(int fd, struct packet *p, int flags)
{
	struct iovec iov[2] = {{&p->h, sizeof(p->h)}, {p->body, sizeof(p->body)}};
	union control control;
	struct msghdr m = {
		.msg_iov = iov,
		.msg_iovlen = 2,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	unsigned got, resets = 0;
	ssize_t n;

	for (unsigned i = 0; i < CHANNEL_FDS_MAX; i++)
		p->fds[i] = -1;
	/* A peer that died with something of ours unread says ECONNRESET once, before what it had
	 * said. */
	do
		n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC | flags);
	while (n < 0 && (errno == EINTR || (errno == ECONNRESET && !resets++)));
	if (n < 0 && errno == ECONNRESET)
		return 0;
	if (n < 0)
		return -errno;
	if (n == 0)
		return 0; /* no packet of ours is empty: end of file */
	got = take_control(&m, p->fds);
	if ((size_t)n < sizeof(p->h) || (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) ||
		p->h.len != (size_t)n - sizeof(p->h) || p->h.nfds != got) {
		packet_finish(p);
		return -EBADMSG;
	}
	return 1;
}

int channel_recv(int fd, struct packet *p, int dontwait)
{
	return receive(fd, p, dontwait ? MSG_DONTWAIT : 0);
}

int channel_peek(int fd, struct packet *p)
{
	return receive(fd, p, MSG_DONTWAIT | MSG_PEEK);
}

void channel_skip(int fd)
{
	ssize_t n;
	char byte;

	do
		n = recv(fd, &byte, 1, MSG_DONTWAIT | MSG_TRUNC);
	while (n < 0 && errno == EINTR);
}

int packet_take_fd(struct packet *p, unsigned i)
{
	int fd = i < CHANNEL_FDS_MAX ? p->fds[i] : -1;

	if (fd >= 0)
		p->fds[i] = -1;
	return fd;
}

void packet_finish(struct packet *p)
{
	for (unsigned i = 0; i < CHANNEL_FDS_MAX; i++) {
		if (p->fds[i] >= 0)
			close(p->fds[i]);
		p->fds[i] = -1;
	}
}
