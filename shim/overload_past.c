/* What was seen, kept for people. As long as nothing was ever near there is no file. */
#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/log.h"
#include "ipc/fds.h"
#include "shim/shim.h"

static void put(struct logged *l, enum logged_figure f, bool there, uint64_t value)
{
	if (there)
		logged_put(l, f, value);
}

bool overload_note_due(const struct shim *s)
{
	return pressure_log_due(&s->overload->past, now_boot());
}

void overload_note(struct shim *s, const struct sample *in, bool near)
{
	struct overload *o = s->overload;
	struct logged l = {.boot_usec = now_boot(), .run = in->run};

	if (!near && !o->past.seq)
		return;
	put(&l, LOGGED_MEMORY, o->sense.usage, o->sense.usage);
	put(&l, LOGGED_LIMIT, o->sense.limit, o->sense.limit);
	put(&l, LOGGED_PIDS, o->sense.pids, o->sense.pids);
	for (unsigned i = 0; i < LOGGED_FIGURES - LOGGED_STALLS; i++)
		put(&l, LOGGED_STALLS + i, in->has >> (INPUT_MEMORY_SOME + i) & 1,
			in->in[INPUT_MEMORY_SOME + i]);
	if (pressure_log_add(&o->past, SHIM_FD_STATE, s->journal.now.boot_id, &l) < 0)
		log_debug("%s", fault_text()); /* a picture with a gap */
}
