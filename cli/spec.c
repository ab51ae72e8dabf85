#include "cli/spec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/devices.h"
#include "ipc/base/fault.h"

int spec_list_add(struct spec_list *list, const void *item, size_t size)
{
	char *grown = realloc(list->items, (list->len + 1) * size);

	if (!grown)
		return fault(-ENOMEM, "options");
	memcpy(grown + list->len * size, item, size);
	list->items = grown;
	list->len++;
	return 0;
}

int spec_env_add(struct spec *spec, const char *pair)
{
	char *copy = strdup(pair);
	int r = copy ? spec_list_add(&spec->env, &copy, sizeof(copy)) : fault(-ENOMEM, "options");

	if (r < 0)
		free(copy);
	return r;
}

bool spec_cgroup_ok(const char *path)
{
	size_t len = strlen(path);

	return path[0] == '/' && len > 1 && len < sizeof(((struct settings *)0)->cgroup) &&
	       path[len - 1] != '/' && !strstr(path, "..") && !strstr(path, "//") &&
	       !strstr(path, "/./") && strcmp(path + len - 2, "/.") != 0;
}

void spec_hostname(const char *id, char ret[SPEC_HOSTNAME_MAX + 1])
{
	size_t len = strnlen(id, SPEC_HOSTNAME_MAX);

	while (len > 0 && strchr("._-", id[len - 1]))
		len--;
	memcpy(ret, id, len);
	ret[len] = '\0';
}

void spec_texts_finish(struct spec_list *list)
{
	char **text = list->items;

	for (size_t i = 0; i < list->len; i++)
		free(text[i]);
	free(text);
}

void spec_finish(struct spec *spec)
{
	struct spec_mount *mounts = spec->mounts.items;

	for (size_t i = 0; i < spec->mounts.len; i++) {
		free(mounts[i].text);
		free(mounts[i].options);
	}
	free(mounts);
	free(spec->setup.ulimits.items);
	spec_texts_finish(&spec->env);
	spec_texts_finish(&spec->setup.env_file);
	spec_texts_finish(&spec->setup.labels);
	spec_texts_finish(&spec->setup.sysctls);
	devices_finish(&spec->resources.devices);
	memset(spec, 0, sizeof(*spec));
}
