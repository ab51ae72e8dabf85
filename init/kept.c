#include "init/kept.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "init/behind.h"
#include "init/raw.h"

#define NAMES	"LISTEN_FDNAMES="
#define BACKLOG 4096 /* as at the beginning; the kernel caps it at net.core.somaxconn */

static int name_ok(const char *s)
{
	size_t n = strnlen(s, PLAN_NAME_MAX + 1);

	if (n == 0 || n > PLAN_NAME_MAX)
		return 0;
	for (; *s; s++)
		if (*s < ' ' || *s > '~' || *s == ':')
			return 0;
	return 1;
}

int kept_put(struct kept *k, uint64_t key, int fd, const char *name)
{
	struct kept_fd *f = &k->table[k->stored];
	int r = k->stored == PLAN_STORED_MAX ? -ENOSPC : key == 0 || !name_ok(name) ? -EINVAL : 0;

	for (uint32_t i = 0; i < k->stored; i++)
		if (k->table[i].key == key) {
			close(fd);
			return 0;
		}
	if (r == 0) {
		f->fd = fcntl(fd, F_DUPFD_CLOEXEC, PLAN_PASSED_LIMIT);
		r = f->fd < 0 ? -errno : 0;
	}
	close(fd);
	if (r < 0)
		return r;
	f->key = key;
	memcpy(f->name, name, strlen(name) + 1);
	k->stored++;
	return 0;
}

void kept_drop(struct kept *k, uint64_t key)
{
	for (uint32_t i = 0; i < k->stored; i++) {
		struct kept_fd *f = &k->table[i];

		if (f->key != key)
			continue;
		close(f->fd);
		k->stored--;
		memmove(f, f + 1, (k->stored - i) * sizeof(*f));
		return;
	}
}

/* Apart from the rest: it is large, and untouched unless something is stored. */
struct kept_fd kept_table[PLAN_STORED_MAX] BEHIND;

int kept_boot(struct kept *k, const struct plan *plan)
{
	const uint64_t *key = (const void *)((const char *)plan + plan->passed_key.off);
	const char *name = (const char *)plan + plan->passed.off;

	k->table = kept_table;
	for (uint32_t i = 0; i < plan->passed.count; i++, name += strlen(name) + 1) {
		int fd = PLAN_FD_PASSED + (int)i;

		if (fcntl(fd, F_GETFD) < 0)
			return -EBADF;
		if (key[i] && kept_put(k, key[i], fd, name) < 0)
			return -EBADF;
		if (!key[i] && (k->stored || !name_ok(name)))
			return -EBADF;
		k->listeners += !key[i];
	}
	/* Whatever else launch forgot there must not leak into the service. */
	syscall(SYS_close_range, PLAN_FD_PASSED + k->listeners, PLAN_PASSED_LIMIT - 1, 0);
	return 0;
}

/* In a run's child ------------------------------------------------------------------------------
 */

static int is_ours(const char *variable)
{
	return strncmp(variable, "LISTEN_FDS=", 11) == 0 ||
	       strncmp(variable, "LISTEN_PID=", 11) == 0 ||
	       strncmp(variable, NAMES, sizeof(NAMES) - 1) == 0;
}

static char *put_text(char *at, const char *s)
{
	size_t n = strlen(s);

	memcpy(at, s, n + 1);
	return at + n;
}

static char *put_number(char *at, const char *name, uint32_t n)
{
	char digits[12], *p = digits + sizeof(digits) - 1;

	*p = '\0';
	do
		*--p = (char)('0' + n % 10);
	while (n /= 10);
	return put_text(put_text(at, name), p) + 1;
}

size_t kept_env_size(const struct kept *k, const struct plan *plan)
{
	size_t n = sizeof(NAMES) + 64;

	if (kept_count(k) == 0)
		return 0;
	for (uint32_t i = 0; i < k->stored; i++)
		n += strlen(k->table[i].name) + 1;
	return n + plan->passed.len;
}

static void put_names(const struct kept *k, const struct plan *plan, char *at)
{
	const char *name = (const char *)plan + plan->passed.off;

	at = put_text(at, NAMES);
	for (uint32_t i = 0; i < k->listeners; i++, name += strlen(name) + 1)
		at = put_text(put_text(at, i ? ":" : ""), name);
	for (uint32_t i = 0; i < k->stored; i++)
		at = put_text(put_text(at, i || k->listeners ? ":" : ""), k->table[i].name);
}

/* LISTEN_PID is known only here: the pid in the container's namespace. */
void kept_env(const struct kept *k, const struct plan *plan, char **envp, char *text)
{
	char **to = envp;

	if (kept_count(k) == 0)
		return;
	for (char **from = envp; *from; from++)
		if (!is_ours(*from))
			*to++ = *from;
	*to++ = text;
	text = put_number(text, "LISTEN_FDS=", kept_count(k));
	*to++ = text;
	text = put_number(text, "LISTEN_PID=", (uint32_t)getpid());
	*to++ = text;
	put_names(k, plan, text);
	*to = NULL;
}

/* Non-blocking mode and backlog belong to the socket, not to the descriptor: what the last run did
 * to them must not reach the next one, nor must a listener that it shut down stay shut. Datagram
 * sockets answer listen() with an error that means nothing. */
static int refresh(int fd)
{
	long flags = raw_call(SYS_fcntl, fd, F_GETFL), r;

	if (flags < 0)
		return (int)flags;
	r = raw_call(SYS_fcntl, fd, F_SETFL, flags & ~O_NONBLOCK);
	if (r < 0)
		return (int)r;
	raw_call(SYS_listen, fd, BACKLOG);
	return 0;
}

int kept_place(const struct kept *k)
{
	int to = KEPT_FIRST, r;

	for (uint32_t i = 0; i < k->listeners; i++, to++) {
		if ((r = raw_dup2(PLAN_FD_PASSED + (int)i, to)) < 0 || (r = refresh(to)) < 0)
			return r;
	}
	for (uint32_t i = 0; i < k->stored; i++, to++)
		if ((r = raw_dup2(k->table[i].fd, to)) < 0)
			return r;
	return 0;
}
