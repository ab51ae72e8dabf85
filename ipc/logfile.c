#include "ipc/logfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/base/fault.h"

#define BASE_DIGITS 20

const char *log_stream_name(enum log_stream s)
{
	return s == LOG_STDOUT ? "stdout" : "stderr";
}

void log_segment_name(char ret[LOG_NAME_MAX], enum log_stream s, uint64_t base, const char *suffix)
{
	snprintf(ret, LOG_NAME_MAX, "%s-%020" PRIu64 ".%s", log_stream_name(s), base, suffix);
}

/* "stdout-<20 digits>.raw" -> base; 0 when the name is something else. */
static int segment_base(const char *name, enum log_stream s, uint64_t *base)
{
	const char *stream = log_stream_name(s);
	size_t len = strlen(stream);
	char *end;

	if (strncmp(name, stream, len) != 0 || name[len] != '-')
		return 0;
	name += len + 1;
	if (strspn(name, "0123456789") != BASE_DIGITS || strcmp(name + BASE_DIGITS, ".raw") != 0)
		return 0;
	*base = strtoull(name, &end, 10);
	return 1;
}

static void insert_sorted(struct log_segments *list, uint64_t base)
{
	size_t i = list->len;

	if (list->len == LOG_SEGMENTS_MAX) { /* the oldest are the ones to forget */
		if (base < list->base[0])
			return;
		memmove(&list->base[0], &list->base[1], (list->len - 1) * sizeof(base));
		i = --list->len;
	}
	for (; i > 0 && list->base[i - 1] > base; i--)
		list->base[i] = list->base[i - 1];
	list->base[i] = base;
	list->len++;
}

int log_segments_list(int dirfd, enum log_stream s, struct log_segments *ret)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *e;
	uint64_t base;
	DIR *dir;

	ret->len = 0;
	if (fd < 0)
		return fault(-errno, "open log directory");
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return fault(-ENOMEM, "read log directory");
	}
	while ((e = readdir(dir)))
		if (segment_base(e->d_name, s, &base))
			insert_sorted(ret, base);
	closedir(dir);
	return 0;
}

int64_t log_stream_end(int dirfd, enum log_stream s)
{
	struct log_segments list;
	char name[LOG_NAME_MAX];
	struct stat st;
	int r = log_segments_list(dirfd, s, &list);

	if (r < 0)
		return r;
	if (list.len == 0)
		return 0;
	log_segment_name(name, s, list.base[list.len - 1], "raw");
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return fault(-errno, "stat %s", name);
	return (int64_t)list.base[list.len - 1] + st.st_size;
}
