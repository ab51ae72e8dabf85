/* The caller's terminal while a container's terminal is shown on it. */
#pragma once

#include "ipc/verbs.h"

/* Raw mode, until term_restore() or the end of the process, whichever way it ends normally. Nothing
 * happens when fd is no terminal. 0 or a fault. */
int term_raw(int fd);

/* After a stop and continue: the shell has put its own mode back. */
void term_raw_again(void);

void term_restore(void);

/* 1 and the size, or 0 when fd is no terminal. */
int term_size(int fd, struct winsize_req *ret);
