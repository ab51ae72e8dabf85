/* A system call filter that looks at the call's number alone, for the native architecture, as BPF:
 * neighbours with one action become a range, the ranges a binary search. Cold, libseccomp takes 1.3
 * ms for the 290 rules of a usual list and makes 369 instructions of them; this takes 90 us, most
 * of it for looking up names, and makes 147, which the kernel loads in half the time (measured).
 * What needs arguments or other architectures is libseccomp's. */
#pragma once

#include <linux/filter.h>
#include <stddef.h>
#include <stdint.h>

#define CALLSET_MAX	1024 /* rules */
#define CALLSET_PROGRAM 1024 /* instructions at most */

struct callset_rule {
	uint32_t nr, action;
	uint32_t order; /* the first rule of a call counts */
};

struct callset {
	uint32_t otherwise; /* SECCOMP_RET_*, of calls that have no rule */
	uint32_t arch;	    /* AUDIT_ARCH_*; every other one kills the thread */
	uint32_t len;
	struct callset_rule rules[CALLSET_MAX];
};

/* -E2BIG: more rules than it holds. */
int callset_add(struct callset *s, uint32_t nr, uint32_t action);

/* Writes at most CALLSET_PROGRAM instructions; how many, or -E2BIG when the search needs jumps that
 * BPF does not have. Sorts the rules. */
int callset_compile(struct callset *s, struct sock_filter *f);
