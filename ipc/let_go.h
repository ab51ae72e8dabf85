/* Closing what came from a container without waiting for what it may have prepared there. */
#pragma once

#include <stddef.h>

/* Closes what is >= 0 of fds and sets it to -1. A socket's last close(2) may sleep for as long as
 * its owner has asked for (SO_LINGER, socket(7)), and one in flight may hold others; the kernel
 * does so for no process that is exiting (net/ipv4/af_inet.c, inet_release): so the last reference
 * to a socket is a child's. */
void let_go(int *fds, size_t n);
