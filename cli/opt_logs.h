/* The options of `holdfast run` about its output on disk. ctx of each setter is struct run. */
#pragma once

#include "cli/options.h"

#define LOG_BYTES     (16u << 20)
#define LOG_BYTES_MIN 4096
#define LOG_FILES     4

int opt_log_dir(void *ctx, const struct option *o, const char *value);
int opt_log_max_size(void *ctx, const struct option *o, const char *value);
int opt_log_max_files(void *ctx, const struct option *o, const char *value);
int opt_merge_output(void *ctx, const struct option *o, const char *value);
int opt_log_full(void *ctx, const struct option *o, const char *value);
