/* Directory entries by the bare call, into a buffer on the stack: no DIR, no allocation. */
#pragma once

/* Calls f for each name but . and .., until it answers non-zero. Its answer, 0, or -errno. */
int dir_each(int fd, int (*f)(void *ctx, const char *name), void *ctx);
