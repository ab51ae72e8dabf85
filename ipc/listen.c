#include "ipc/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "ipc/base/fault.h"
#include "ipc/base/file.h"
#include "ipc/base/mem.h"
#include "ipc/base/parse.h"

#define FILE_NAME  "listeners"
#define NAME_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
#define PATH_BYTES (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

_Static_assert(sizeof(struct sockaddr_un) <= LISTEN_ADDR_BYTES, "every address fits");

/* The text as a whole, for messages; at is the part that is still to be read. */
struct cursor {
	const char *whole, *at;
};

static int bad(const struct cursor *c, const char *what)
{
	return fault_plain(-EINVAL, "--listen \"%.200s\": %s", c->whole, what);
}

/* NAME=, if there is an = before anything that only an address has. */
static int take_name(struct cursor *c, struct listen_addr *ret)
{
	size_t len = strcspn(c->at, "=:/@["), good = strspn(c->at, NAME_CHARS);

	snprintf(ret->name, sizeof(ret->name), "%s", LISTEN_NAME_DEFAULT);
	if (c->at[len] != '=')
		return 0;
	if (len == 0 || len > LISTEN_NAME_MAX || good != len)
		return bad(c,
			"its name must be 1 to 255 letters, digits, dots, dashes and underscores");
	memcpy(ret->name, c->at, len);
	ret->name[len] = '\0';
	c->at += len + 1;
	return 0;
}

/* Unix sockets ---------------------------------------------------------------------------------
 */

static int take_mode(const struct cursor *c, const char *value, struct listen_addr *ret)
{
	char *end;
	unsigned long mode = strtoul(value, &end, 8);

	if (*value < '0' || *value > '7' || *end || mode > 0777)
		return bad(c, "mode= is an octal number up to 0777: mode=0660");
	ret->mode = (uint32_t)mode;
	return 0;
}

static int take_owner(const struct cursor *c, char *value, struct listen_addr *ret)
{
	char *gid = strchr(value, ':');
	uint64_t u, g;

	if (gid)
		*gid++ = '\0';
	if (!gid || parse_u64("", value, 0, UINT32_MAX - 1, &u) < 0 ||
		parse_u64("", gid, 0, UINT32_MAX - 1, &g) < 0)
		return bad(c, "owner= is two numbers: owner=1000:1000");
	ret->uid = (uint32_t)u;
	ret->gid = (uint32_t)g;
	return 0;
}

/* Options are what follows a path's last commas, as long as they are ours: a path may have commas.
 */
static int take_path_options(const struct cursor *c, char *path, struct listen_addr *ret)
{
	int r = 0;

	for (char *comma; r == 0 && (comma = strrchr(path, ','));) {
		if (strncmp(comma, ",mode=", 6) == 0)
			r = take_mode(c, comma + 6, ret);
		else if (strncmp(comma, ",owner=", 7) == 0)
			r = take_owner(c, comma + 7, ret);
		else
			break;
		*comma = '\0';
	}
	return r;
}

static int take_unix(const struct cursor *c, struct listen_addr *ret)
{
	auto_free char *path = strdup(c->at);
	struct sockaddr_un *a = (void *)ret->addr;
	bool abstract = c->at[0] == '@';
	size_t len;
	int r;

	if (!path)
		return fault(-ENOMEM, "--listen");
	if (!abstract && c->at[0] != '/')
		return bad(c, "a unix socket is unix:/PATH, or unix:@NAME for an abstract one");
	r = abstract ? 0 : take_path_options(c, path, ret);
	len = strlen(path);
	if (r < 0)
		return r;
	if (len < 2 || path[len - 1] == '/')
		return bad(c, "there is no name in it (use unix:/run/web.sock)");
	if (len > PATH_BYTES)
		return bad(c, "the address is longer than the 107 bytes that the kernel takes");
	a->sun_family = AF_UNIX;
	memcpy(a->sun_path, path, len);
	if (abstract)
		a->sun_path[0] = '\0'; /* its length says where it ends */
	ret->len = (uint32_t)(offsetof(struct sockaddr_un, sun_path) + len + !abstract);
	return 0;
}

/* Ports ----------------------------------------------------------------------------------------
 */

static int take_port(const struct cursor *c, const char *text, in_port_t *ret)
{
	uint64_t port;

	if (parse_u64("", text, 1, 65535, &port) < 0)
		return bad(c, "the port must be a number from 1 to 65535");
	*ret = htons((uint16_t)port);
	return 0;
}

static int take_v6(const struct cursor *c, struct listen_addr *ret)
{
	struct sockaddr_in6 *a = (void *)ret->addr;
	const char *end = strchr(c->at, ']');
	char host[INET6_ADDRSTRLEN];
	size_t len = end ? (size_t)(end - c->at) - 1 : 0;

	if (!end || end[1] != ':' || len >= sizeof(host))
		return bad(c, "an IPv6 address is written [ADDRESS]:PORT");
	memcpy(host, c->at + 1, len);
	host[len] = '\0';
	if (inet_pton(AF_INET6, host, &a->sin6_addr) != 1)
		return bad(c, "not an IPv6 address (host names are not looked up)");
	a->sin6_family = AF_INET6;
	ret->len = sizeof(*a);
	return take_port(c, end + 2, &a->sin6_port);
}

static int take_v4(const struct cursor *c, const char *colon, struct listen_addr *ret)
{
	struct sockaddr_in *a = (void *)ret->addr;
	size_t len = (size_t)(colon - c->at);
	char host[INET_ADDRSTRLEN];

	if (len >= sizeof(host))
		return bad(c, "not an IPv4 address (host names are not looked up)");
	memcpy(host, c->at, len);
	host[len] = '\0';
	if (inet_pton(AF_INET, host, &a->sin_addr) != 1)
		return bad(c,
			"not an IPv4 address (use HOST:PORT with numbers, [V6]:PORT, PORT alone, or unix:/PATH)");
	a->sin_family = AF_INET;
	ret->len = sizeof(*a);
	return take_port(c, colon + 1, &a->sin_port);
}

static int take_inet(const struct cursor *c, struct listen_addr *ret)
{
	struct sockaddr_in6 *a = (void *)ret->addr;
	const char *colon = strrchr(c->at, ':');

	if (c->at[0] == '[')
		return take_v6(c, ret);
	if (colon)
		return take_v4(c, colon, ret);
	a->sin6_family = AF_INET6; /* in6addr_any is all zeros */
	ret->len = sizeof(*a);
	ret->both = 1;
	return take_port(c, c->at, &a->sin6_port);
}

int listen_parse(const char *text, struct listen_addr *ret)
{
	static const struct {
		const char *prefix;
		uint32_t type;
		int (*parse)(const struct cursor *c, struct listen_addr *ret);
	} kinds[] = {
		{"tcp:", SOCK_STREAM, take_inet},
		{"udp:", SOCK_DGRAM, take_inet},
		{"unix:", SOCK_STREAM, take_unix},
		{"unix-dgram:", SOCK_DGRAM, take_unix},
		{"unix-seqpacket:", SOCK_SEQPACKET, take_unix},
	};
	struct cursor c = {text, text};
	int r;

	memset(ret, 0, sizeof(*ret));
	ret->type = SOCK_STREAM;
	ret->mode = LISTEN_MODE_DEFAULT;
	r = take_name(&c, ret);
	if (r < 0)
		return r;
	if (!*c.at)
		return bad(&c, "there is no address (use PORT, HOST:PORT or unix:/PATH)");
	for (size_t i = 0; i < array_size(kinds); i++) {
		size_t len = strlen(kinds[i].prefix);

		if (strncmp(c.at, kinds[i].prefix, len) != 0)
			continue;
		c.at += len;
		ret->type = kinds[i].type;
		return kinds[i].parse(&c, ret);
	}
	return c.at[0] == '/' || c.at[0] == '@' ? take_unix(&c, ret) : take_inet(&c, ret);
}

/* Back to text ---------------------------------------------------------------------------------
 */

const char *listen_path(const struct listen_addr *a)
{
	const struct sockaddr_un *u = (const void *)a->addr;

	return u->sun_family == AF_UNIX && u->sun_path[0] ? u->sun_path : NULL;
}

static void unix_text(const struct listen_addr *a, char *ret, size_t size)
{
	const struct sockaddr_un *u = (const void *)a->addr;
	const char *kind = a->type == SOCK_DGRAM       ? "unix-dgram"
			   : a->type == SOCK_SEQPACKET ? "unix-seqpacket"
						       : "unix";
	int len = (int)(a->len - offsetof(struct sockaddr_un, sun_path));

	if (u->sun_path[0])
		snprintf(ret, size, "%s:%s", kind, u->sun_path);
	else
		snprintf(ret, size, "%s:@%.*s", kind, len - 1, u->sun_path + 1);
}

const char *listen_text(const struct listen_addr *a)
{
	const struct sockaddr *any = (const void *)a->addr;
	const struct sockaddr_in *v4 = (const void *)a->addr;
	const struct sockaddr_in6 *v6 = (const void *)a->addr;
	const char *kind = a->type == SOCK_DGRAM ? "udp" : "tcp";
	static char text[160];
	char host[INET6_ADDRSTRLEN] = "";

	if (any->sa_family == AF_UNIX) {
		unix_text(a, text, sizeof(text));
	} else if (any->sa_family == AF_INET) {
		inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
		snprintf(text, sizeof(text), "%s:%s:%u", kind, host, ntohs(v4->sin_port));
	} else if (a->both) {
		snprintf(text, sizeof(text), "%s:%u", kind, ntohs(v6->sin6_port));
	} else {
		inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
		snprintf(text, sizeof(text), "%s:[%s]:%u", kind, host, ntohs(v6->sin6_port));
	}
	return text;
}

/* The list --------------------------------------------------------------------------------------
 */

int listen_write(int state_dirfd, const struct listen_addr *list, unsigned count)
{
	return count ? file_replace(state_dirfd, FILE_NAME, list, count * sizeof(*list), 0600) : 0;
}

static bool sound(const struct listen_addr *a)
{
	return a->len >= sizeof(sa_family_t) && a->len <= LISTEN_ADDR_BYTES && a->name[0] &&
	       memchr(a->name, '\0', sizeof(a->name)) && a->addr[LISTEN_ADDR_BYTES - 1] == 0;
}

int listen_read(int state_dirfd, struct listen_addr list[LISTEN_MAX])
{
	auto_free char *data = NULL;
	ssize_t n = file_read(state_dirfd, FILE_NAME, LISTEN_MAX * sizeof(*list), &data);

	if (n == -ENOENT)
		return 0;
	if (n < 0)
		return (int)n;
	if ((size_t)n % sizeof(*list) != 0)
		return fault_plain(-EBADMSG, "the list of listeners is damaged: size");
	memcpy(list, data, (size_t)n);
	for (size_t i = 0; i < (size_t)n / sizeof(*list); i++)
		if (!sound(&list[i]))
			return fault_plain(
				-EBADMSG, "the list of listeners is damaged: entry %zu", i + 1);
	return (int)((size_t)n / sizeof(*list));
}
