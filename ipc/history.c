#include "ipc/history.h"

#include <string.h>

#include "ipc/base/mem.h"
#include "ipc/journal_reader.h"

#define SIGNALLED_BASE 128

/* Copies a body into a struct of ours: shorter ones (older writers) are zero-filled. */
#define body_into(r, dst)                                                                 \
	({                                                                                \
		memset((dst), 0, sizeof(*(dst)));                                         \
		memcpy((dst), record_body(r),                                             \
			(r)->body_len < sizeof(*(dst)) ? (r)->body_len : sizeof(*(dst))); \
	})

void history_init(struct history *h)
{
	memset(h, 0, sizeof(*h));
	h->state = LIFE_NEW;
}

static void on_created(struct history *h, const struct record *r)
{
	h->real_created = r->real_usec;
}

static void on_launch_intent(struct history *h, const struct record *r)
{
	struct rec_launch b;

	body_into(r, &b);
	b.cgroup[sizeof(b.cgroup) - 1] = '\0';
	h->launch_nonce = b.nonce;
	memcpy(h->cgroup, b.cgroup, sizeof(h->cgroup));
	h->cgroup_kept = b.cgroup_kept;
	h->state = LIFE_LAUNCHING;
	h->paused = false; /* a new group moves */
	h->rules_on = 0;
	h->pid = h->init_pid = 0;
}

static void on_launched(struct history *h, const struct record *r)
{
	struct rec_launched b;

	body_into(r, &b);
	h->init_pid = b.pid;
	h->init_starttime = b.starttime;
	h->state = LIFE_LAUNCHED;
}

/* What follows from it is a record of its own; till then the keeper tells the result again. */
static void on_launch_failed(struct history *h, const struct record *r)
{
	h->init_pid = 0;
}

static void on_started(struct history *h, const struct record *r)
{
	struct rec_started b;

	body_into(r, &b);
	h->run = r->run;
	h->pid = b.pid;
	h->init_pid = b.init_pid;
	h->boot_started = b.boot_usec;
	h->real_started = r->real_usec;
	h->up_once = true;
	h->state = h->stopping ? LIFE_STOPPING : LIFE_RUNNING;
}

static void journalled(struct history *h, const struct exit_info *e)
{
	if (e->seq <= h->exit_seq)
		return;
	h->exit_seq = e->seq;
	h->exit_count = e->count;
}

static void on_exited(struct history *h, const struct record *r)
{
	body_into(r, &h->last);
	journalled(h, &h->last);
	h->restarts = h->last.restarts;
	h->run = r->run;
	h->pid = 0;
	h->restarting = false;
	h->state = LIFE_BACKOFF;
}

static void on_other_exit(struct history *h, const struct record *r)
{
	struct exit_info e;

	body_into(r, &e);
	journalled(h, &e);
}

/* What it says of an end is that of the newest of those exits, unless nobody knows. */
static void on_exit_gap(struct history *h, const struct record *r)
{
	struct exit_info e;

	body_into(r, &e);
	if (e.flags & EXIT_UNKNOWN)
		journalled(h, &e);
	else
		on_exited(h, r);
}

static void on_stop_intent(struct history *h, const struct record *r)
{
	struct rec_stop b;

	body_into(r, &b);
	h->asked = (struct asked){.what = b.what, .run = r->run};
	if (b.what == CLIENT_RESTART && h->stopping)
		return;
	h->removing |= b.what == CLIENT_REMOVE;
	if (h->state == LIFE_DOWN)
		return;
	h->stop = (struct stop_req){.signo = b.signo, .has_grace = 1, .grace_usec = b.grace_usec};
	h->restarting = b.what == CLIENT_RESTART;
	if (h->restarting)
		return;
	h->stopping = true;
	if (h->state == LIFE_RUNNING)
		h->state = LIFE_STOPPING;
}

static void on_shim(struct history *h, const struct record *r)
{
	struct rec_shim b;

	body_into(r, &b);
	h->shim_revivals = b.revivals;
}

static void on_down(struct history *h, const struct record *r)
{
	body_into(r, &h->last);
	h->pid = h->init_pid = 0;
	h->cgroup[0] = '\0';
	h->stopping = h->restarting = h->paused = false;
	h->rules_on = 0;
	h->state = LIFE_DOWN;
}

/* Run numbers, exits and output go on; what was decided in the life before does not. */
static void on_opened(struct history *h, const struct record *r)
{
	h->pid = h->init_pid = 0;
	h->cgroup[0] = '\0';
	h->stopping = h->restarting = h->up_once = h->removing = h->paused = false;
	h->opened = true;
	h->state = LIFE_NEW;
}

static void on_paused(struct history *h, const struct record *r)
{
	h->paused = true;
}

static void on_resumed(struct history *h, const struct record *r)
{
	h->paused = false;
}

/* A byte that is neither 0 nor 1 is no bool, and reading it as one is undefined. */
static bool truth(const bool *b)
{
	return *(const volatile unsigned char *)b != 0;
}

/* The seq that follows is the snapshot's own; strings are only trusted up to their arrays' ends. */
static void on_snapshot(struct history *h, const struct record *r)
{
	struct history was;

	body_into(r, &was);
	if (r->body_len < offsetof(struct history, ready_run) || (unsigned)was.state >= LIFE_STATES)
		return;
	*h = was;
	h->stopping = truth(&was.stopping);
	h->opened = truth(&was.opened);
	h->up_once = truth(&was.up_once);
	h->restarting = truth(&was.restarting);
	h->removing = truth(&was.removing);
	h->paused = truth(&was.paused);
	h->seq = r->seq;
	h->cgroup[sizeof(h->cgroup) - 1] = '\0';
	h->boot_id[BOOT_ID_LEN] = '\0';
	h->rule_end.rule[sizeof(h->rule_end.rule) - 1] = '\0';
	h->rule_end.why[sizeof(h->rule_end.why) - 1] = '\0';
	h->unhealthy.text[sizeof(h->unhealthy.text) - 1] = '\0';
}

static void on_ready(struct history *h, const struct record *r)
{
	h->ready_run = r->run;
}

static void on_unhealthy(struct history *h, const struct record *r)
{
	struct rec_health b;

	body_into(r, &b);
	b.text[sizeof(b.text) - 1] = '\0';
	h->unhealthy = (struct unhealthy){
		.run = r->run,
		.source = b.source,
		.kind = b.kind,
		.signo = b.signo,
		.grace_usec = b.grace_usec,
	};
	memcpy(h->unhealthy.text, b.text, sizeof(h->unhealthy.text));
}

static void on_rule(struct history *h, const struct record *r)
{
	struct rec_rule b;

	body_into(r, &b);
	if (b.act < h->rule_act)
		return;
	h->rule_act = b.act;
	h->rule_noted = r->type;
	h->rules_on += r->type == RECORD_RULE_FIRED;
	h->rules_on -= r->type == RECORD_RULE_CLEARED && h->rules_on;
	if (r->type != RECORD_RULE_ACTION || !b.ends)
		return;
	h->rule_end = (struct rule_end){.run = r->run, .action = b.action};
	memcpy(h->rule_end.rule, b.rule, sizeof(b.rule) - 1);
	memcpy(h->rule_end.why, b.why, sizeof(b.why) - 1);
}

static void on_note(struct history *h, const struct record *r)
{
}

static void (*const handlers[])(struct history *h, const struct record *r) = {
	[RECORD_CREATED] = on_created,
	[RECORD_LAUNCH_INTENT] = on_launch_intent,
	[RECORD_LAUNCHED] = on_launched,
	[RECORD_LAUNCH_FAILED] = on_launch_failed,
	[RECORD_STARTED] = on_started,
	[RECORD_EXITED] = on_exited,
	[RECORD_OOM] = on_other_exit,
	[RECORD_EXIT_GAP] = on_exit_gap,
	[RECORD_STOP_INTENT] = on_stop_intent,
	[RECORD_SHIM] = on_shim,
	[RECORD_KEEPER] = on_note,
	[RECORD_OUTPUT_GAP] = on_note,
	[RECORD_WARNING] = on_note,
	[RECORD_DOWN] = on_down,
	[RECORD_WAITING] = on_note,
	[RECORD_SNAPSHOT] = on_snapshot,
	[RECORD_OPENED] = on_opened,
	[RECORD_READY] = on_ready,
	[RECORD_GAP] = on_note,
	[RECORD_PAUSED] = on_paused,
	[RECORD_RESUMED] = on_resumed,
	[RECORD_UPDATED] = on_note,
	[RECORD_EXEC_STARTED] = on_note,
	[RECORD_EXEC_EXITED] = on_other_exit,
	[RECORD_RULE_FIRED] = on_rule,
	[RECORD_RULE_ACTION] = on_rule,
	[RECORD_RULE_DONE] = on_rule,
	[RECORD_RULE_CLEARED] = on_rule,
	[RECORD_HEALTH] = on_note,
	[RECORD_UNHEALTHY] = on_unhealthy,
};

void history_apply(struct history *h, const struct record *r)
{
	h->seq = r->seq;
	if (r->type < array_size(handlers) && handlers[r->type])
		handlers[r->type](h, r); /* a type of a later release is skipped */
}

int history_read(int state_dirfd, struct history *ret, uint64_t *end)
{
	struct journal_reader reader;
	const struct record *record;
	uint64_t missed;
	int r;

	history_init(ret);
	r = journal_reader_open(&reader, state_dirfd, 0);
	if (r < 0)
		return r;
	memcpy(ret->boot_id, reader.head.boot_id, BOOT_ID_LEN);
	while ((r = journal_reader_next(&reader, &record, &missed)) > 0)
		if (r == JOURNAL_RECORD)
			history_apply(ret, record);
		else
			ret->seq = reader.seq; /* the numbers in a gap are taken */
	if (end)
		*end = reader.at;
	journal_reader_finish(&reader);
	return r;
}

const char *life_name(enum life_state s)
{
	static const char *const names[LIFE_STATES] = {
		[LIFE_NEW] = "created",
		[LIFE_LAUNCHING] = "starting",
		[LIFE_LAUNCHED] = "starting",
		[LIFE_RUNNING] = "running",
		[LIFE_BACKOFF] = "restarting",
		[LIFE_STOPPING] = "stopping",
		[LIFE_DOWN] = "exited",
		[LIFE_REMOVED] = "removed",
	};

	return (unsigned)s < LIFE_STATES ? names[s] : "unknown";
}

int exit_status(const struct exit_info *e)
{
	if (e->flags & EXIT_UNKNOWN)
		return 125;
	if (e->signal)
		return SIGNALLED_BASE + (int)e->signal;
	return (int)e->code;
}
