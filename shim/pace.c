#include "shim/pace.h"

#include "ipc/base/clock.h"

/* Below the first number it is no flow, above the second the writer is about to wait. */
#define FLOW_MIN      (32 << 10)
#define FLOW_MAX      (512 << 10)
#define FLOW_MSEC     1
#define TRICKLE_TURNS 32
#define TRICKLE_MSEC  5
#define TRICKLE_USEC  (2 * TRICKLE_MSEC * USEC_PER_MSEC)
#define PIPE_SHARE    8 /* of its size within a turn: no trickle */

int pace_msec(struct pace *p, int64_t n, int pipe_size, uint64_t now)
{
	if (n >= FLOW_MIN) {
		p->small = 0; /* who fills the pipe in less than that must not wait for us */
		return n < FLOW_MAX ? FLOW_MSEC : 0;
	}
	p->small = now - p->moved_at < TRICKLE_USEC ? p->small + 1 : 0;
	p->moved_at = now;
	return p->small >= TRICKLE_TURNS && n < pipe_size / PIPE_SHARE ? TRICKLE_MSEC : 0;
}
