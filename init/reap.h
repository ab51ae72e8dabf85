/* Zombies: everything in the pid namespace ends up with PID 1. */
#pragma once

struct pid1;

/* Reaps all that have ended (when they are many, with turns of others between), and tells the run
 * when its main process or its last one was among them. */
void reap_all(struct pid1 *p);
