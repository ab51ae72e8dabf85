/* The descriptors that the service has stored: held by the keeper under a number, named in the file
 * `stored`, passed to the next runs by init, and by launch after a fresh start. In that order:
 * name, deposit, init; each step may be done twice. */
#pragma once

struct shim;

void store_add(struct shim *s, const char *name, int fd); /* takes over fd */
void store_remove(struct shim *s, const char *name);
