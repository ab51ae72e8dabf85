/* Files of environment variables, as docker reads them: NAME=VALUE with nothing quoted or expanded,
 * NAME alone passes the caller's own on if it is set, # begins a comment, blank lines count for
 * nothing. */
#pragma once

#include <stddef.h>

#include "cli/spec_resources.h"

/* Appends "NAME=VALUE" strings to list. name is how messages call the file. data (NUL-terminated)
 * is cut up. 0, or -EINVAL with `--env-file "NAME:LINE": …`. */
int envfile_parse(const char *name, char *data, size_t len, struct spec_list *list);

/* The same of a file at path (or a pipe). 0 or a fault. */
int envfile_read(const char *path, struct spec_list *list);

/* One of NAME=VALUE or NAME: *ret is a fresh "NAME=VALUE", or NULL for a NAME that is not set here.
 * 0 or -ENOMEM. */
int env_pair(const char *text, char **ret);
