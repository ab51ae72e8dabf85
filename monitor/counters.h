/* The kernel's counter files of a container, as an exit record has them. Pure. */
#pragma once

#include "ipc/post_mortem.h"

/* A file that is not there, or a line that was cut off, is a counter that `has` does not name. */
void counters_parse(struct counters *ret, const struct exit_record *r);

/* What was added since `before`, for counters that both have. */
struct counters counters_grown(const struct counters *end, const struct counters *before);
