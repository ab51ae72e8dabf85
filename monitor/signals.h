/* What rules look at. A sample is what the kernel (and the shim) say at one instant: totals that
 * only grow, and levels. A signal is what a rule compares: computed from samples over the rule's
 * window. What a host does not tell is an input that is not there, never a 0. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rule_input {
	INPUT_MEMORY_SOME, /* totals of stalls, usec */
	INPUT_MEMORY_FULL,
	INPUT_CPU_SOME,
	INPUT_CPU_FULL,
	INPUT_IO_SOME,
	INPUT_IO_FULL,
	INPUT_EVENTS_HIGH, /* totals of memory.events; v1 has stand-ins for max and oom */
	INPUT_EVENTS_MAX,
	INPUT_EVENTS_OOM,
	INPUT_EVENTS_OOM_KILL,
	INPUT_RECLAIM,	    /* grows while memory is reclaimed */
	INPUT_MEMORY_USAGE, /* of the limit, hundredths of a percent */
	INPUT_WORKING_SET,  /* the same, without file pages that nobody used lately */
	INPUT_PIDS_MAX,	    /* total of forks refused */
	INPUT_PERIODS,	    /* totals of the CPU quota's periods */
	INPUT_THROTTLED,
	INPUT_OUTPUT,	     /* total of bytes written by the service */
	INPUT_HEALTH,	     /* 1: a probe says that it fails */
	INPUT_WATCHDOG,	     /* total of WATCHDOG=1 that did not come in time */
	INPUT_UNRECLAIMABLE, /* usage without any file pages, of the limit as well */
	INPUTS,
};

struct sample {
	uint32_t run; /* totals before it belong to another one */
	uint32_t pad;
	uint64_t has; /* bit n: in[n] is there */
	uint64_t in[INPUTS];
};

enum rule_signal {
	SIGNAL_MEMORY_PRESSURE_SOME = 1,
	SIGNAL_MEMORY_PRESSURE_FULL,
	SIGNAL_CPU_PRESSURE_SOME,
	SIGNAL_CPU_PRESSURE_FULL,
	SIGNAL_IO_PRESSURE_SOME,
	SIGNAL_IO_PRESSURE_FULL,
	SIGNAL_MEMORY_EVENTS_HIGH,
	SIGNAL_MEMORY_EVENTS_MAX,
	SIGNAL_MEMORY_EVENTS_OOM,
	SIGNAL_MEMORY_EVENTS_OOM_KILL,
	SIGNAL_MEMORY_USAGE,
	SIGNAL_MEMORY_WORKING_SET,
	SIGNAL_MEMORY_RECLAIM, /* usage, while memory is reclaimed; else 0 */
	SIGNAL_PIDS_MAX,
	SIGNAL_CPU_THROTTLED,
	SIGNAL_OUTPUT,
	SIGNAL_HEALTH,
	SIGNAL_WATCHDOG,
	SIGNAL_MEMORY_UNRECLAIMABLE,
	SIGNALS,
};

#define SIGNAL_WHOLE 10000u /* 100 %, in hundredths of a percent */

enum signal_kind {
	KIND_SHARE, /* of time, from a total in usec; hundredths of a percent */
	KIND_RATIO, /* of the growth of two totals; hundredths of a percent */
	KIND_COUNT, /* growth of a total over the window */
	KIND_RATE,  /* the same, a second */
	KIND_LEVEL, /* as it is now; hundredths of a percent */
	KIND_GATED, /* as it is now while a total grows, else 0; hundredths of a percent */
	KIND_FLAG,  /* 1 or 0 */
};

struct signal_info {
	const char *name; /* as rules write it: "memory.pressure.full" */
	enum signal_kind kind;
	enum rule_input input, second; /* of KIND_RATIO the whole, of KIND_GATED what must grow */
	uint64_t window_usec;	       /* unless a rule says otherwise; 0: it has none */
};

const struct signal_info *signal_info(enum rule_signal s);  /* NULL: no such number */
enum rule_signal signal_find(const char *name, size_t len); /* 0: no such name */
bool signal_is_percent(enum rule_signal s);
bool signal_is_pressure(enum rule_signal s);

/* "83.50%", "12", "3.0 MiB/s": the value as people read it. */
void signal_value_text(char *buf, size_t size, enum rule_signal s, uint64_t value);

/* The past of one signal: enough of it for a window. */
#define WINDOW_SLOTS 10u

struct window {
	uint32_t len, next;
	struct {
		uint64_t at, total, second;
	} slot[WINDOW_SLOTS];
};

/* Adds this instant and tells the signal's value now. false: the sample does not have it. Until a
 * window is full its value counts what is missing as quiet, so that nothing fires early. */
bool window_value(struct window *w, enum rule_signal s, uint64_t window_usec,
	const struct sample *in, uint64_t now, uint64_t *ret);
