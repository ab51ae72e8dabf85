/* The health of a container as fields of the API. */
#pragma once

#include <stdbool.h>

#include "ipc/health.h"
#include "ipc/proto/holdfast/v1/supervisor.pb-c.h"

/* What the message points to. */
struct health_msg {
	Holdfast__V1__Probe probes[PROBES_MAX], *list[PROBES_MAX];
	char target[PROBES_MAX][PROBE_WORDS + 96], why[PROBES_MAX][PROBE_WHY];
	char status[NOTIFY_STATUS_MAX + 1];
};

/* conf, state: NULL where nothing was asked for. running: its service is up. h must stay where it
 * is while the message is used. */
void health_to_msg(struct health_msg *h, Holdfast__V1__GetStateResponse *m,
	const struct health_conf *conf, const struct health_state *st, bool running);
