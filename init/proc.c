#include "init/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "init/dir.h"
#include "init/pid1.h"
#include "init/sys.h"

int proc_open(const struct pid1 *p, const char *name)
{
	int dir = PLAN_FD_PROC, fd;

	if (!pid1_has(p, PLAN_FD_PROC))
		dir = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	fd = sys_result(openat(dir, name, O_RDONLY | O_CLOEXEC));
	if (dir >= 0 && dir != PLAN_FD_PROC)
		close(dir);
	return fd;
}

static int count_number(void *ctx, const char *name)
{
	*(uint32_t *)ctx += name[0] >= '1' && name[0] <= '9';
	return 0;
}

uint32_t proc_count(const struct pid1 *p)
{
	int fd = proc_open(p, ".");
	uint32_t n = 0;

	if (fd < 0)
		return 0;
	dir_each(fd, count_number, &n);
	close(fd);
	return n > 0 ? n - 1 : 0;
}

uint32_t proc_lines(const struct pid1 *p, const char *name)
{
	int fd = proc_open(p, name);
	uint32_t lines = 0;
	char buf[2048];
	ssize_t n;

	if (fd < 0)
		return UINT32_MAX;
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		for (ssize_t i = 0; i < n; i++)
			lines += buf[i] == '\n';
	close(fd);
	return n < 0 ? UINT32_MAX : lines;
}
