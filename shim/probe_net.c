/* Probes over a connection. A tcp socket is the keeper's and of the container's network: it is used
 * again and again. A unix socket is found beneath the container's root, whatever symlinks say. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "ipc/base/fd.h"
#include "monitor/http_status.h"
#include "shim/probes.h"
#include "shim/shim.h"

#define ANSWER_MAX (64u << 10) /* bytes of an answer that are read to be polite */

static void on_ready(struct loop_io *io);

void probes_held(struct shim *s, uint64_t key, int fd)
{
	struct health *h = &s->health;
	struct probe_run *p = h->probes && key < h->conf->count ? &h->probes[key] : NULL;

	if (!p || p->conf->how == PROBE_EXEC || p->conf->how == PROBE_UNIX) {
		close(fd);
		return;
	}
	loop_io_finish(&p->io);
	p->held = true;
	loop_io_start(&p->io, &s->loop, fd, on_ready, p);
	loop_io_want(&p->io, false, false);
}

static int connect_tcp(struct probe_run *p)
{
	const struct probe_conf *c = p->conf;
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)c->port)};
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)c->port)};
	int r;

	if (!p->held)
		return -ENOTCONN;
	connect(p->io.fd, &none, sizeof(none)); /* the last one's rest, if there is any */
	memcpy(&a4.sin_addr, c->addr, sizeof(a4.sin_addr));
	memcpy(&a6.sin6_addr, c->addr, sizeof(a6.sin6_addr));
	r = c->v6 ? connect(p->io.fd, (struct sockaddr *)&a6, sizeof(a6))
		  : connect(p->io.fd, (struct sockaddr *)&a4, sizeof(a4));
	if (r < 0 && errno != EINPROGRESS)
		return -errno;
	loop_io_want(&p->io, false, true);
	return 0;
}

static int find_unix(const struct shim *s, const char *path)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	int fd;

	if (s->health.root < 0)
		return -ENOTCONN;
	fd = (int)syscall(SYS_openat2, s->health.root, path, &how, sizeof(how));
	return fd < 0 ? -errno : fd;
}

static int connect_unix(struct probe_run *p)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	auto_fd at = find_unix(p->shim, p->conf->text), fd = -1;
	int r = at;

	if (at < 0) {
		at = -1;
		return r;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d", at);
	if (fd < 0)
		return -errno;
	r = connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ? -errno : 0;
	if (r < 0 && r != -EAGAIN)
		return r;
	probe_finish(p, r == 0, "%s", r == 0 ? "" : "it takes no connection: its queue is full");
	return 0;
}

int probe_net_begin(struct probe_run *p)
{
	p->sent = false;
	p->got = 0;
	return p->conf->how == PROBE_UNIX ? connect_unix(p) : connect_tcp(p);
}

void probe_net_end(struct probe_run *p)
{
	if (!p->held)
		return;
	loop_io_want(&p->io, false, false);
	shutdown(p->io.fd, SHUT_RDWR);
}

/* Small enough for an empty send buffer: it goes out whole. */
static void send_request(struct probe_run *p)
{
	char text[PROBE_WORDS + 256];
	int n = snprintf(text, sizeof(text),
		"GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: holdfast-probe\r\nAccept: */*\r\n"
		"Connection: close\r\n\r\n",
		p->conf->text, p->conf->host);

	if (send(p->io.fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) != n) {
		probe_finish(p, false, "%s", "the request was not taken");
		return;
	}
	p->sent = true;
	loop_io_want(&p->io, true, false);
}

static void on_connected(struct probe_run *p)
{
	socklen_t len = sizeof(int);
	int err = 0;

	if (getsockopt(p->io.fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		err = errno;
	if (err)
		probe_finish(p, false, "%s", strerror(err));
	else if (p->conf->how == PROBE_TCP)
		probe_finish(p, true, "%s", "");
	else
		send_request(p);
}

static void judge(struct probe_run *p, bool ended)
{
	int status = http_status(p->said, p->got < HTTP_STATUS_BYTES ? p->got : HTTP_STATUS_BYTES);

	if (status < 0)
		probe_finish(p, false, "%s", "what answers speaks no HTTP");
	else if (status > 0)
		probe_finish(p, status >= 200 && status < 400, "status %d", status);
	else if (ended)
		probe_finish(p, false, "%s", "the connection ended before the answer");
}

/* All that has come is taken, so that a small answer is not cut off under the server's hands. */
static void on_answer(struct probe_run *p)
{
	char bytes[4096];
	ssize_t n;

	while ((n = recv(p->io.fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0) {
		for (ssize_t i = 0; i < n && p->got < HTTP_STATUS_BYTES; i++)
			p->said[p->got++] = bytes[i];
		if (p->got >= HTTP_STATUS_BYTES)
			p->got += (uint32_t)n;
		if (p->got > ANSWER_MAX)
			break;
	}
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		probe_finish(p, false, "%s", strerror(errno));
	else
		judge(p, n == 0);
}

static void on_ready(struct loop_io *io)
{
	struct probe_run *p = io->ctx;

	if (!p->state->began)
		loop_io_want(io, false, false);
	else if (p->sent)
		on_answer(p);
	else
		on_connected(p);
}
