/* From exec to the first packet: PID 1 checks everything that it was handed, once, and gives up
 * what it does not need. */
#pragma once

struct pid1;

/* 0, or -errno after one line on stderr: then nothing was begun. */
int boot(struct pid1 *p);
