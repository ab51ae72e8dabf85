/* A service that speaks systemd's pressure protocol, as its document has it: for each resource it
 * finds the place in its environment, connects or opens, writes what it is told to write, and from
 * then on a line of output for each time that it is told of pressure.
 *
 *   pressured [memory|cpu|io]...    prints "watch NAME", then "pressure NAME"; "closed NAME" at the
 * end
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define KINDS 3

static void say(const char *what, const char *name)
{
	char line[64];
	int n = snprintf(line, sizeof(line), "%s %s\n", what, name);

	if (write(1, line, (size_t)n) != n)
		exit(9);
}

static const char *variable(const char *name, const char *end)
{
	char text[64];
	size_t n = 0;

	for (; name[n] && n < 16; n++)
		text[n] = (char)toupper((unsigned char)name[n]);
	snprintf(text + n, sizeof(text) - n, "_PRESSURE_%s", end);
	return getenv(text);
}

static int digit(char c)
{
	static const char all[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(all, c) : NULL;

	return at ? (int)(at - all) : -1;
}

static size_t decode(const char *text, char *ret, size_t size)
{
	unsigned bits = 0, have = 0;
	size_t n = 0;

	for (; digit(*text) >= 0 && n < size; text++) {
		bits = bits << 6 | (unsigned)digit(*text);
		have += 6;
		if (have >= 8) {
			have -= 8;
			ret[n++] = (char)(bits >> have);
		}
	}
	return n;
}

/* A socket is connected to, anything else opened. */
static int reach(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct stat st;
	int fd;

	if (stat(path, &st) < 0)
		return -1;
	if (!S_ISSOCK(st.st_mode))
		return open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ? -1 : fd;
}

static int watch(const char *name)
{
	const char *path = variable(name, "WATCH"), *text = variable(name, "WRITE");
	char bytes[256];
	size_t n;
	int fd;

	if (!path || strcmp(path, "/dev/null") == 0) {
		say("nothing", name);
		return -1;
	}
	fd = reach(path);
	if (fd < 0) {
		perror(path);
		exit(3);
	}
	n = text ? decode(text, bytes, sizeof(bytes)) : 0;
	if (n && write(fd, bytes, n) != (ssize_t)n) {
		perror("write");
		exit(4);
	}
	say("watch", name);
	return fd;
}

static void look(struct pollfd *p, const char *name)
{
	char bytes[4096];
	ssize_t n;

	if (!p->revents)
		return;
	while ((n = read(p->fd, bytes, sizeof(bytes))) > 0)
		;
	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		say("closed", name);
		p->fd = -1;
		return;
	}
	say("pressure", name);
}

int main(int argc, char **argv)
{
	struct pollfd p[KINDS];
	int n = argc - 1 < KINDS ? argc - 1 : KINDS;

	for (int i = 0; i < n; i++)
		p[i] = (struct pollfd){.fd = watch(argv[i + 1]), .events = POLLIN};
	for (;;) {
		if (poll(p, (nfds_t)n, -1) < 0 && errno != EINTR)
			return 5;
		for (int i = 0; i < n; i++)
			look(&p[i], argv[i + 1]);
	}
}
