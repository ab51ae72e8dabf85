/* Post-mortem records as messages of the API. */
#pragma once

#include "ipc/post_mortem.h"
#include "ipc/proto/holdfast/v1/supervisor.pb-c.h"

struct post_mortem_msg {
	Holdfast__V1__PostMortemRecord record;
	Holdfast__V1__Exit exit;
	char cause[192], by[48];
	char *available[6];
};

/* Points into itself and into p. */
void post_mortem_to_msg(struct post_mortem_msg *ret, const struct post_mortem_full *p);
