/* holdfast.v1.Supervisor.PostMortem: the records on disk, as many as fit a frame. */
#include <stdlib.h>

#include "ipc/base/fault.h"
#include "ipc/base/mem.h"
#include "ipc/fds.h"
#include "ipc/post_mortem_msg.h"
#include "shim/shim.h"

#define SERVICE "holdfast.v1.Supervisor"
#define RECORDS 8 /* with all their output no more fit a frame */

struct answer {
	struct post_mortem_full full[RECORDS];
	struct post_mortem_msg msgs[RECORDS];
	Holdfast__V1__PostMortemRecord *pointers[RECORDS];
};

static enum served post_mortem(struct conn *c, uint32_t stream, const void *req)
{
	const Holdfast__V1__PostMortemRequest *r = req;
	auto_free struct answer *a = malloc(sizeof(*a)); /* too large for the stack */
	size_t limit = r->limit && r->limit < RECORDS ? r->limit : RECORDS;
	Holdfast__V1__PostMortemResponse m;
	int n;

	if (!a)
		return serve_error(c, stream, TTRPC_INTERNAL, "PostMortem: out of memory");
	n = post_mortem_list(
		SHIM_FD_STATE, c->shim->log_dirfd, true, r->before_run, a->full, limit);
	if (n < 0)
		return serve_error(c, stream, TTRPC_INTERNAL, "PostMortem: %s", fault_text());
	holdfast__v1__post_mortem_response__init(&m);
	m.records = a->pointers;
	for (int i = 0; i < n; i++) {
		post_mortem_to_msg(&a->msgs[i], &a->full[i]);
		a->pointers[m.n_records++] = &a->msgs[i].record;
		if (protobuf_c_message_get_packed_size(&m.base) < TTRPC_FRAME_MAX - TTRPC_HEAD - 64)
			continue;
		m.n_records--; /* the caller asks on: before_run */
		break;
	}
	return serve_answer(c, stream, &m.base);
}

const struct serve_method serve_post_mortem_methods[] = {
	{SERVICE, "PostMortem", &holdfast__v1__post_mortem_request__descriptor, false, post_mortem},
	{0},
};
