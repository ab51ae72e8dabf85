/* Processes and the host they run on. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define BOOT_ID_LEN 36

int pidfd_open_pid(pid_t pid);	      /* O_CLOEXEC pidfd or -errno */
int pidfd_kill(int pidfd, int signo); /* 0 or -errno; -ESRCH: gone */
bool pidfd_dead(int pidfd);	      /* readable: the process has ended */
/* How a process ended, as wait(2) would say, for who isn't its parent: while it is a zombie, and
 * once it is reaped, from 6.15 on. 0; -EAGAIN: may be known later; else nobody tells. */
int pidfd_exit_status(int pidfd, int *ret);
pid_t pidfd_pid(int pidfd);		 /* its pid as this procfs sees it; -1: gone or unknown */
uint64_t proc_starttime(pid_t pid);	 /* field 22 of /proc/PID/stat, clock ticks; 0: gone */
int boot_id(char ret[BOOT_ID_LEN + 1]);	 /* /proc/sys/kernel/random/boot_id; 0 or a fault */
int random_bytes(void *buf, size_t len); /* getrandom; 0 or -errno */
