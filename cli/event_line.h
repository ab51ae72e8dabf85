/* An event of a container as one line. */
#pragma once

#include <stdint.h>

#include "ipc/proto/holdfast/v1/supervisor.pb-c.h"

/* For people: time, container, sequence, what happened. Nothing for types not known here. */
void event_line(const char *id, const Holdfast__V1__Event *e);

/* For machines: the event as JSON, with `id` and `cursor`. */
void event_line_json(const char *id, uint64_t instance, const Holdfast__V1__Event *e);
