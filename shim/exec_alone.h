/* Commands beside a service without init: begun by holdfast-launch, reaped here. */
#pragma once

#include <stdint.h>

struct shim;

/* fds as enum exec_fd, which stay the caller's. 0: it is on its way, and what becomes of it is told
 * as init would tell it, under the tag; or -errno. What was begun under this id is told again. */
int exec_alone_begin(struct shim *s, uint32_t id, uint64_t tag, const int *fds);

/* A new shim: what its predecessor had ends with it; takes over fd. */
void exec_alone_held(struct shim *s, uint64_t key, int fd);
void exec_alone_recover(struct shim *s);
/* The keeper is dead: each pidfd, for the next one. */
int exec_alone_each(struct shim *s, int (*give)(void *ctx, uint64_t key, int fd), void *ctx);
