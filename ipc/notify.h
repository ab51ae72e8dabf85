/* One notification of a service, as of sd_notify(3): lines NAME=VALUE. Hostile input: what is not
 * known, too long or malformed is left out. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/plan.h"

#define NOTIFY_TEXT_MAX	    4096u /* bytes of a datagram; a longer one does not count */
#define NOTIFY_NAME_DEFAULT "stored"
#define NOTIFY_STATUS_MAX   191u /* bytes of STATUS= that are kept */

/* A number that may not have been said. */
struct notify_number {
	bool given;
	uint64_t value;
};

struct notify_msg {
	bool ready;			/* READY=1 */
	bool reloading;			/* RELOADING=1, until the next READY=1 */
	bool stopping;			/* STOPPING=1 */
	bool alive;			/* WATCHDOG=1 */
	bool trigger;			/* WATCHDOG=trigger: acts as if the watchdog were missed */
	bool main_pid;			/* MAINPID= something: refused, but told */
	bool store;			/* FDSTORE=1: keep the descriptors that came along */
	bool unstore;			/* FDSTOREREMOVE=1: forget those called fdname */
	char fdname[PLAN_NAME_MAX + 1]; /* FDNAME=, "stored" without one */
	bool named;			/* FDNAME= was given and is a name */
	bool told;			/* STATUS= was given */
	char status[NOTIFY_STATUS_MAX + 1]; /* its beginning, printable ASCII and UTF-8 */
	struct notify_number watchdog_usec; /* WATCHDOG_USEC=; 0 takes the watchdog away */
	struct notify_number extend_usec;   /* EXTEND_TIMEOUT_USEC= */
	struct notify_number errnum;	    /* ERRNO= */
	struct notify_number exit_status;   /* EXIT_STATUS= */
};

void notify_parse(const char *text, size_t len, struct notify_msg *ret);
