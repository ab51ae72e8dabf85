#include "ipc/stored.h"

#include <errno.h>
#include <string.h>

#include "ipc/base/fault.h"
#include "ipc/base/file.h"
#include "ipc/base/mem.h"

#define FILE_NAME "stored"

int stored_write(int state_dirfd, const struct stored_name *list, unsigned count)
{
	return file_replace(state_dirfd, FILE_NAME, list, count * sizeof(*list), 0600);
}

int stored_read(int state_dirfd, struct stored_name list[PLAN_STORED_MAX])
{
	auto_free char *data = NULL;
	ssize_t n = file_read(state_dirfd, FILE_NAME, PLAN_STORED_MAX * sizeof(*list), &data);

	if (n == -ENOENT)
		return 0;
	if (n < 0)
		return (int)n;
	if ((size_t)n % sizeof(*list) != 0)
		return fault_plain(-EBADMSG, "the names of stored descriptors are damaged");
	memcpy(list, data, (size_t)n);
	for (size_t i = 0; i < (size_t)n / sizeof(*list); i++)
		list[i].name[PLAN_NAME_MAX] = '\0';
	return (int)((size_t)n / sizeof(*list));
}
