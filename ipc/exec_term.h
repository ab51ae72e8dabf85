/* A terminal for an exec, in the container's own devpts, so that ttyname(3) works inside. */
#pragma once

/* root: the container's, O_PATH. The master (non-blocking), and its other end in *peer; or a fault.
 */
int exec_term_open(int root, int *peer);
