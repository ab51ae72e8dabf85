/* Which device nodes the container's processes may open or make: nothing but the default ones and
 * what config.json allows, in its order, the last match deciding. */
#pragma once

struct launch;

int devrules_attach(struct launch *l, int group); /* v2: a BPF program; 0 or a fault */
int devrules_write(struct launch *l, int group);  /* v1: devices.deny and devices.allow */
