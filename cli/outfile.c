#include "cli/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "ipc/base/fault.h"
#include "ipc/base/file.h"

int outfile_replace(const char *file, const char *text, size_t len)
{
	struct stat st;

	if (lstat(file, &st) == 0 && !S_ISREG(st.st_mode))
		return fault_plain(
			-EINVAL, "--output \"%.200s\": is there and is no regular file", file);
	return file_replace(AT_FDCWD, file, text, len, 0644);
}
