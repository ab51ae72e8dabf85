#include "cli/opt_logs.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/opt_mounts.h"
#include "cli/run_options.h"
#include "ipc/base/fault.h"
#include "ipc/base/parse.h"
#include "ipc/logfile.h"

#define DIR_MAX 400 /* "/local/ID" follows, and all of it is in the settings */

/* It stands for /var/log/holdfast: the container's own directory is made below, and goes with it.
 */
int opt_log_dir(void *ctx, const struct option *o, const char *value)
{
	struct run *run = ctx;
	struct stat st;

	if (!opt_path_ok(value) || strlen(value) > DIR_MAX)
		return option_bad(o, value, "use an absolute path without .. of at most 400 bytes");
	if (stat(value, &st) == 0 && !S_ISDIR(st.st_mode))
		return option_bad(
			o, value, "is no directory (name one; it is made when it is not there)");
	run->log_dir = value;
	return 0;
}

int opt_log_max_size(void *ctx, const struct option *o, const char *value)
{
	struct run *run = ctx;
	int r = parse_size(option_shown(o), value, &run->settings.log_max_bytes);

	if (r == 0 && run->settings.log_max_bytes < LOG_BYTES_MIN)
		return option_bad(o, value, "a file holds at least 4k (use 16m, 1g)");
	return r;
}

int opt_log_max_files(void *ctx, const struct option *o, const char *value)
{
	struct run *run = ctx;
	uint64_t n;
	int r = parse_u64(option_shown(o), value, 1, LOG_SEGMENTS_MAX - 1, &n);

	if (r == 0)
		run->settings.log_max_files = (uint32_t)n;
	return r;
}

int opt_log_full(void *ctx, const struct option *o, const char *value)
{
	struct run *run = ctx;

	if (strcmp(value, "drop") != 0 && strcmp(value, "block") != 0)
		return option_bad(o, value, "use drop or block");
	run->settings.log_full = strcmp(value, "block") == 0 ? LOG_FULL_BLOCK : LOG_FULL_DROP;
	return 0;
}

int opt_merge_output(void *ctx, const struct option *o, const char *value)
{
	((struct run *)ctx)->settings.flags |= SETTINGS_MERGE_OUTPUT;
	return 0;
}
