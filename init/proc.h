/* The container's own /proc, through the descriptor that launch opened (the service may have
 * mounted something over the path), else by path. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct pid1;

int proc_open(const struct pid1 *p, const char *name); /* a file below /proc, or -errno */

uint32_t proc_count(const struct pid1 *p); /* processes besides PID 1, zombies included */
uint32_t proc_lines(const struct pid1 *p, const char *name); /* UINT32_MAX: unreadable */
