/* Pause and resume. Paused is state: journalled before the group is frozen and after it was let go,
 * so a new shim makes the group as the journal says. PID 1 stands still like everybody, so whatever
 * needs its answer (stop, signals, restart) lets the group go first. */
#include <errno.h>

#include "ipc/base/fault.h"
#include "ipc/base/log.h"
#include "monitor/cgfreeze.h"
#include "shim/shim.h"

static void note(struct shim *s, enum record_type type)
{
	journal_append(&s->journal, type, 0, s->journal.now.run, NULL, 0);
}

static void resumed(struct shim *s)
{
	note(s, RECORD_RESUMED);
	overload_thawed(s);
	health_resumed(s);
}

int pause_begin(struct shim *s)
{
	int r;

	if (s->journal.now.paused)
		return 0;
	if (s->phase != PHASE_RUNNING && s->phase != PHASE_DELAY)
		return fault_plain(-ESRCH, "is %s, not running", life_name(s->journal.now.state));
	health_paused(s); /* first: a successor finds it paused since then, or not paused */
	note(s, RECORD_PAUSED);
	r = cgfs_freeze(&s->hier, s->settings.cgroup, true);
	if (r < 0)
		resumed(s);
	return r;
}

int pause_end(struct shim *s)
{
	int r;

	if (!s->journal.now.paused)
		return 0;
	r = cgfs_freeze(&s->hier, s->settings.cgroup, false);
	if (r < 0)
		return r;
	resumed(s);
	return 0;
}

void pause_thaw(struct shim *s)
{
	if (pause_end(s) < 0)
		log_warn("resume: %s", fault_text());
}

void pause_recover(struct shim *s)
{
	if (!s->journal.now.paused) {
		overload_thawed(s); /* a predecessor may have died over it */
		health_resumed(s);
		return;
	}
	if (cgfs_freeze(&s->hier, s->settings.cgroup, true) >= 0)
		return;
	journal_warn(&s->journal, "pause: %s", fault_text());
	resumed(s); /* as it is now */
}
