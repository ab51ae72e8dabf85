#include "cli/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"
#include "ipc/base/mem.h"

#define LIST_MAX (1u << 20) /* bytes of /etc/passwd that are worth reading */

/* No sign, space, 0x or leading zero: "01" may be octal to somebody, so it is nothing to us. */
int identity_number(const char *text, size_t len, uint32_t *ret)
{
	uint64_t n = 0;

	if (len == 0 || (len > 1 && text[0] == '0') || len > 10)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		n = n * 10 + (uint64_t)(text[i] - '0');
	}
	if (n > UINT32_MAX - 1) /* 2^32-1 means "no change" to setresuid */
		return -ERANGE;
	*ret = (uint32_t)n;
	return 0;
}

/* Field i of a line of colon-separated fields: its start, and its length; NULL if it has fewer. */
static const char *field(const char *line, size_t line_len, unsigned i, size_t *len)
{
	const char *end = line + line_len;

	for (; i > 0; i--) {
		line = memchr(line, ':', (size_t)(end - line));
		if (!line)
			return NULL;
		line++;
	}
	*len = (size_t)(end - line);
	if (memchr(line, ':', *len))
		*len = (size_t)((const char *)memchr(line, ':', *len) - line);
	return line;
}

static const char *line_next(const char *line, size_t *len)
{
	*len = strcspn(line, "\n");
	return *line ? line + *len + (line[*len] == '\n') : NULL;
}

static int named(const char *line, size_t line_len, const char *name, size_t len)
{
	return line_len > len && memcmp(line, name, len) == 0 && line[len] == ':';
}

int identity_in_passwd(const char *data, const char *name, size_t len, struct identity *ret)
{
	size_t n, uid_len = 0, gid_len = 0, home_len = 0;

	for (const char *line = data, *next; (next = line_next(line, &n)); line = next) {
		const char *uid = field(line, n, 2, &uid_len);
		const char *gid = field(line, n, 3, &gid_len);
		const char *home = field(line, n, 5, &home_len);

		if (!named(line, n, name, len) || !uid || !gid ||
			identity_number(uid, uid_len, &ret->uid) < 0 ||
			identity_number(gid, gid_len, &ret->gid) < 0)
			continue;
		if (home && home_len < sizeof(ret->home)) {
			memcpy(ret->home, home, home_len);
			ret->home[home_len] = '\0';
		}
		return 1;
	}
	return 0;
}

int identity_in_group(const char *data, const char *name, size_t len, uint32_t *gid)
{
	size_t n, gid_len = 0;

	for (const char *line = data, *next; (next = line_next(line, &n)); line = next) {
		const char *number = field(line, n, 2, &gid_len);

		if (named(line, n, name, len) && number &&
			identity_number(number, gid_len, gid) == 0)
			return 1;
	}
	return 0;
}

static int lists(const char *members, size_t members_len, const char *user, size_t len)
{
	const char *end = members + members_len;

	for (const char *m = members; m < end;) {
		const char *comma = memchr(m, ',', (size_t)(end - m));
		size_t n = (size_t)((comma ? comma : end) - m);

		if (n == len && memcmp(m, user, len) == 0)
			return 1;
		m += n + 1;
	}
	return 0;
}

void identity_groups(const char *data, const char *user, size_t len, struct identity *ret)
{
	size_t n, gid_len = 0, members_len = 0;
	uint32_t gid;

	for (const char *line = data, *next; (next = line_next(line, &n)); line = next) {
		const char *number = field(line, n, 2, &gid_len);
		const char *members = field(line, n, 3, &members_len);

		if (ret->groups_len == IDENTITY_GROUPS_MAX)
			return;
		if (number && members && lists(members, members_len, user, len) &&
			identity_number(number, gid_len, &gid) == 0 && gid != ret->gid)
			ret->groups[ret->groups_len++] = gid;
	}
}

/* The image chose this file: it is followed only inside the root, opened without blocking, and must
 * be a regular file of bounded size. A file that is not there is empty. */
static int list_read(const char *rootfs, const char *path, char **ret)
{
	struct open_how how = {
		.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	auto_fd root = open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	auto_fd fd = -1;
	char proc[40];
	struct stat st;

	if (root < 0)
		return fault(-errno, "open %s", rootfs);
	fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
	if (fd < 0 && errno == ENOENT) {
		*ret = strdup("");
		return *ret ? 0 : fault(-ENOMEM, "%s", path);
	}
	if (fd < 0)
		return fault(-errno, "open %s of the container", path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > (off_t)LIST_MAX)
		return fault_plain(-EINVAL,
			"%s of the container: not a regular file of at most %u bytes", path,
			LIST_MAX);
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	return file_read(AT_FDCWD, proc, LIST_MAX, ret) < 0 ? -EINVAL : 0;
}

static int bad(const char *text, const char *what)
{
	return fault_plain(-EINVAL,
		"--user \"%.200s\": %s (use UID, UID:GID, or names in the container's /etc/passwd and /etc/group)",
		text, what);
}

static int resolve_user(
	const char *text, size_t len, const char *rootfs, int groups, struct identity *ret)
{
	auto_free char *passwd = NULL, *group = NULL;
	int r = identity_number(text, len, &ret->uid);

	if (r == 0) {
		ret->gid = 0;
		return 0;
	}
	if (r == -ERANGE || len == 0 || (text[0] >= '0' && text[0] <= '9'))
		return bad(text, "not a user");
	r = list_read(rootfs, "/etc/passwd", &passwd);
	if (r < 0)
		return r;
	if (!identity_in_passwd(passwd, text, len, ret))
		return bad(text, "no such user");
	r = groups ? list_read(rootfs, "/etc/group", &group) : 0;
	if (r == 0 && groups)
		identity_groups(group, text, len, ret);
	return r;
}

static int resolve_group(
	const char *text, const char *name, const char *rootfs, struct identity *ret)
{
	auto_free char *group = NULL;
	int r = identity_number(name, strlen(name), &ret->gid);

	if (r == 0)
		return 0;
	if (r == -ERANGE || !*name || (*name >= '0' && *name <= '9'))
		return bad(text, "not a group");
	r = list_read(rootfs, "/etc/group", &group);
	if (r < 0)
		return r;
	return identity_in_group(group, name, strlen(name), &ret->gid) ? 0
								       : bad(text, "no such group");
}

int identity_resolve(const char *text, const char *rootfs, struct identity *ret)
{
	size_t len = strcspn(text, ":");
	int r;

	memset(ret, 0, sizeof(*ret));
	r = resolve_user(text, len, rootfs, text[len] == '\0', ret);
	if (r == 0 && text[len] == ':')
		r = resolve_group(text, text + len + 1, rootfs, ret);
	return r;
}
