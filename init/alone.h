/* Stand-alone: the PID 1 of any container. Runs one command, forwards signals to it, reaps all. */
#pragma once

/* holdfast-init [--] CMD ARG...; the status of CMD, 128+n for a signal, 127 not found, 126 not
 * executable, 125 for a failure of ours, 64 without a command. */
int alone_main(char **argv, char **envp);
