/* One notification of a service, as of sd_notify(3): lines NAME=VALUE. Hostile input: what is not
 * known, too long or malformed is left out. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "ipc/plan.h"

#define NOTIFY_TEXT_MAX	    4096u /* bytes of a datagram; a longer one does not count */
#define NOTIFY_NAME_DEFAULT "stored"

struct notify_msg {
	bool ready;			/* READY=1 */
	bool store;			/* FDSTORE=1: keep the descriptors that came along */
	bool unstore;			/* FDSTOREREMOVE=1: forget those called fdname */
	char fdname[PLAN_NAME_MAX + 1]; /* FDNAME=, "stored" without one */
	bool named;			/* FDNAME= was given and is a name */
};

void notify_parse(const char *text, size_t len, struct notify_msg *ret);
