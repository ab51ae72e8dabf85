/* --pidfile: the host's pid of the container's PID 1, as long as there is one. In place that stays
 * the same over restarts; a fresh start writes the new one, before it is announced. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/file.h"
#include "shim/shim.h"

static int32_t pid_in(const char *path)
{
	char text[16];

	return file_read_buf(AT_FDCWD, path, text, sizeof(text)) > 0 ? (int32_t)atol(text) : 0;
}

void pidfile_write(struct shim *s)
{
	const char *path = s->settings.pidfile;
	int32_t pid = s->journal.now.init_pid;
	char text[16];
	int n;

	if (!path[0] || pid <= 0 || pid_in(path) == pid)
		return;
	n = snprintf(text, sizeof(text), "%d\n", pid);
	if (file_replace(AT_FDCWD, path, text, (size_t)n, 0644) < 0)
		journal_warn(&s->journal, "--pidfile: %s", fault_text());
}

/* Only what is ours: somebody may have put another file there. */
void pidfile_remove(struct shim *s)
{
	const char *path = s->settings.pidfile;

	if (path[0] && s->journal.now.init_pid > 0 && pid_in(path) == s->journal.now.init_pid)
		unlink(path);
}
