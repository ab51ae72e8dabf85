/* Which device nodes the container's processes may open or make: nothing but the default ones and
 * what config.json allows, in its order, the last match deciding. */
#pragma once

struct launch;

enum { DEVRULES_NO_BPF = 1 }; /* the kernel took no program; errno says why */

/* v2: a BPF program. 0, DEVRULES_NO_BPF or a fault. */
int devrules_attach(struct launch *l, int group);

/* v1: devices.deny and devices.allow. 0 or a fault. */
int devrules_write(struct launch *l, int group);
