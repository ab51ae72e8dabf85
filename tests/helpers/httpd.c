/* The smallest HTTP server that a load test needs: one thread, epoll, a connection per request.
 *
 *   httpd PORT    serves on the first of LISTEN_FDS if there are any for it, else binds
 *                 127.0.0.1:PORT by itself; says READY=1 where NOTIFY_SOCKET says that it may */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FIRST_FD 3
#define BACKLOG	 4096
#define EVENTS	 256

static int inherited(void)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");

	return pid && fds && strtol(pid, NULL, 10) == getpid() && strtol(fds, NULL, 10) >= 1
		       ? FIRST_FD
		       : -1;
}

static int bound(const char *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fd, BACKLOG) != 0) {
		perror("bind");
		exit(1);
	}
	return fd;
}

static void say_ready(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	const char *path = getenv("NOTIFY_SOCKET");
	int fd;

	if (!path)
		return;
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (sendto(fd, "READY=1", 7, 0, (struct sockaddr *)&a, sizeof(a)) < 0)
		perror("READY=1");
	close(fd);
}

static void take_all(int ep, int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};

		epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
	}
}

/* A request of ours comes in one segment. */
static void answer(int fd)
{
	char request[1024], text[160];
	ssize_t n = read(fd, request, sizeof(request));
	int len;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n > 0) {
		len = snprintf(text, sizeof(text),
			"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n%5d\n",
			(int)getpid());
		n = write(fd, text, (size_t)len);
	}
	close(fd);
}

int main(int argc, char **argv)
{
	struct epoll_event events[EVENTS], e = {.events = EPOLLIN};
	int ep = epoll_create1(EPOLL_CLOEXEC), listener = inherited();

	if (argc != 2)
		return 64;
	signal(SIGPIPE, SIG_IGN);
	if (listener < 0)
		listener = bound(argv[1]);
	fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) | O_NONBLOCK);
	e.data.fd = listener;
	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e) != 0)
		return 1;
	say_ready();
	for (;;) {
		int n = epoll_wait(ep, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == listener)
				take_all(ep, listener);
			else
				answer(events[i].data.fd);
		}
	}
}
