#include "ipc/settings.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"

/* Where the first release's struct ended: a shorter file is not ours. */
#define SETTINGS_MIN offsetof(struct settings, real_created)

static int terminated(const char *s, size_t size)
{
	return memchr(s, '\0', size) != NULL;
}

static int settings_check(const struct settings *s)
{
	if (s->magic != SETTINGS_MAGIC || s->version != SETTINGS_VERSION)
		return fault_plain(-EINVAL, "settings: not a settings file of this version");
	if (!terminated(s->id, sizeof(s->id)) || !terminated(s->realm, sizeof(s->realm)) ||
		!terminated(s->cgroup, sizeof(s->cgroup)) ||
		!terminated(s->log_dir, sizeof(s->log_dir)) ||
		!terminated(s->bundle, sizeof(s->bundle)) ||
		!terminated(s->changed.cpuset_cpus, sizeof(s->changed.cpuset_cpus)))
		return fault_plain(-EINVAL, "settings: damaged");
	if (!terminated(s->pidfile, sizeof(s->pidfile)) || (s->pidfile[0] && s->pidfile[0] != '/'))
		return fault_plain(-EINVAL, "settings: pidfile: damaged");
	if (s->cgroup[0] != '/' || strstr(s->cgroup, "/.."))
		return fault_plain(-EINVAL,
			"settings: cgroup \"%s\": not an absolute path without ..", s->cgroup);
	return id_check(s->id);
}

int settings_read(int state_dirfd, struct settings *ret)
{
	auto_fd fd = openat(state_dirfd, "settings", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n;

	memset(ret, 0, sizeof(*ret));
	if (fd < 0)
		return fault(-errno, "open settings");
	n = read(fd, ret, sizeof(*ret));
	if (n < 0)
		return fault(-errno, "read settings");
	if ((size_t)n < SETTINGS_MIN || ret->size > (size_t)n)
		return fault_plain(-EINVAL, "settings: cut off after %zd bytes", n);
	return settings_check(ret);
}

int settings_write(int state_dirfd, struct settings *s)
{
	s->magic = SETTINGS_MAGIC;
	s->version = SETTINGS_VERSION;
	s->size = sizeof(*s);
	return file_replace(state_dirfd, "settings", s, sizeof(*s), 0600);
}

int id_check(const char *id)
{
	size_t len = strlen(id);
	int joined = 1; /* the character before was a separator, or there was none */

	if (len == 0 || len > ID_MAX)
		return fault_plain(-EINVAL, "name \"%.100s\": use 1 to %d characters", id, ID_MAX);
	for (size_t i = 0; i < len; i++) {
		int separator = id[i] == '.' || id[i] == '_' || id[i] == '-';

		if (!separator && !isalnum((unsigned char)id[i]))
			joined = 2;
		if (joined == 2 || (joined && separator))
			return fault_plain(-EINVAL,
				"name \"%.100s\": use letters and digits, joined by single . _ or -",
				id);
		joined = separator;
	}
	if (joined)
		return fault_plain(-EINVAL, "name \"%.100s\": must end with a letter or digit", id);
	return 0;
}

static const char *from_env(const char *name, const char *usual)
{
	const char *value = getenv(name);

	return value && value[0] == '/' ? value : usual;
}

const char *state_root(void)
{
	return from_env("HOLDFAST_STATE_DIR", "/run/holdfast");
}

const char *log_root(void)
{
	return from_env("HOLDFAST_LOG_DIR", "/var/log/holdfast");
}
