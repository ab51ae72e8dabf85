#include "init/dir.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "init/sys.h"

struct entry { /* struct linux_dirent64, which no header has */
	uint64_t ino;
	int64_t off;
	uint16_t len;
	uint8_t type;
	char name[];
};

static int is_dot(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

int dir_each(int fd, int (*f)(void *ctx, const char *name), void *ctx)
{
	_Alignas(8) char buf[1024];
	int n, r;

	while ((n = sys_result(syscall(SYS_getdents64, fd, buf, sizeof(buf)))) > 0) {
		for (int at = 0; at < n;) {
			const struct entry *e = (const void *)(buf + at);

			at += e->len;
			if (!is_dot(e->name) && (r = f(ctx, e->name)) != 0)
				return r;
		}
	}
	return n;
}
