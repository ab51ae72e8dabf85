/* The file that --output names. */
#pragma once

#include <stddef.h>

/* Writes it whole or not at all. It takes the place of a file, never of a device or a link: what
 * root names by mistake would be gone for everybody. 0 or a fault. */
int outfile_replace(const char *file, const char *text, size_t len);
