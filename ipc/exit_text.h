/* How a run ended, in words. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ipc/proto/holdfast/v1/supervisor.pb-c.h"

/* "exit code 3", "killed by SIGSEGV, core dumped, out of memory". */
void exit_how(char *ret, size_t size, const Holdfast__V1__Exit *e);

/* "next run in place after 100 ms", "stays down: the restart policy does not answer it". */
void exit_then(char *ret, size_t size, const Holdfast__V1__Exit *e);

/* Who asked for the end, by the verb of the tool's socket: "stop", "kill"; NULL: none of them. */
const char *exit_asked_by(uint32_t verb);

/* "1.5 s", "20 ms", "7 us" */
void exit_duration(char *ret, size_t size, uint64_t usec);
