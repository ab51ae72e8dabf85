/* What a container's processes were doing: for each what it is, its state, where in the kernel it
 * waits and its open files, as `dump-N` in the state directory (N: its run, modulo 4). */
#pragma once

#include <stddef.h>

struct shim;

/* Writes it and starts the hook, if there is one: PROGRAM ID FILE RULE, as root on the host, not
 * waited for. 0 or a fault; what there is to say in text. */
int dump_write(struct shim *s, const char *rule, const char *why, const char *hook, char *text,
	size_t size);
