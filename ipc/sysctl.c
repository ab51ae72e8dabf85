#include "ipc/sysctl.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "ipc/base/mem.h"

static const struct sysctl_rule {
	const char *prefix;
	bool whole;
	uint64_t ns;
} rules[] = {
	{"net/", false, CLONE_NEWNET},
	{"kernel/shm", false, CLONE_NEWIPC},
	{"kernel/msg", false, CLONE_NEWIPC},
	{"kernel/sem", true, CLONE_NEWIPC},
	{"kernel/auto_msgmni", true, CLONE_NEWIPC},
	{"fs/mqueue/", false, CLONE_NEWIPC},
	{"kernel/domainname", true, CLONE_NEWUTS},
};

int sysctl_path(const char *key, char *path, size_t size)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_-./";
	char from = strchr(key, '/') ? '/' : '.';
	size_t n = strlen(key);

	if (n == 0 || n >= size || key[0] == from || key[n - 1] == from ||
		strspn(key, letters) != n)
		return -EINVAL;
	for (size_t i = 0; i <= n; i++)
		path[i] = key[i] == from ? '/' : key[i];
	if (strstr(path, "//") || strncmp(path, "../", 3) == 0 || strstr(path, "/../") ||
		(n >= 3 && strcmp(path + n - 3, "/..") == 0))
		return -EINVAL;
	return 0;
}

uint64_t sysctl_namespace(const char *path)
{
	for (size_t i = 0; i < array_size(rules); i++) {
		const struct sysctl_rule *r = &rules[i];

		if (r->whole ? strcmp(path, r->prefix) == 0
			     : strncmp(path, r->prefix, strlen(r->prefix)) == 0)
			return r->ns;
	}
	return 0;
}

const char *namespace_name(uint64_t type)
{
	return type == CLONE_NEWNET ? "net" : type == CLONE_NEWIPC ? "ipc" : "uts";
}
