/* File descriptors that close themselves. */
#pragma once

#include <stddef.h>

void fd_close(int *fd); /* closes if >= 0, sets to -1, keeps errno */
int fd_take(int *fd);	/* returns *fd and leaves -1: ownership moves to the caller */
int fd_cloexec(int fd, int on);
int fd_cloexec_all(int from); /* marks every fd >= from close-on-exec (close_range) */

/* Gives src the number dst without close-on-exec, for a child that is about to exec. Closes
 * nothing. 0 or -errno. */
int fd_place(int src, int dst);

#define auto_fd __attribute__((cleanup(fd_close))) int
