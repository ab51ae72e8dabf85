/* The end of a container's cgroup when no supervisor can be had for it. */
#pragma once

/* Kills everything in the group ("/holdfast/..." below each hierarchy's root) and removes it. Any
 * other path is somebody else's to end: it is only asked whether it is empty. 0, or a fault: there
 * may still be processes. */
int group_end(const char *path);
