/* Finding and executing a command as execvp(3) does, without its shell fallback for files that have
 * no executable format: a container without a shell must say ENOEXEC. */
#pragma once

/* Returns only on failure: -ENOENT (nowhere), -EACCES (found, not executable), or another -errno.
 * A name without a slash is searched in the PATH of envp, the environment it is given. */
int exec_search(char **argv, char **envp);

/* The same with a call that does what execve(2) does, but answers with -errno. */
int exec_search_by(
	char **argv, char **envp, int (*exec)(const char *path, char **argv, char **envp));
