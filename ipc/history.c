#include "ipc/history.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/mem.h"

#define JOURNAL_READ_MAX (16u << 20)

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

static void on_exited(struct history *h, const struct record *r)
{
	body_into(r, &h->last);
	h->exit_seq = h->last.seq > h->exit_seq ? h->last.seq : h->exit_seq;
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
	h->exit_seq = e.seq > h->exit_seq ? e.seq : h->exit_seq;
}

static void on_stop_intent(struct history *h, const struct record *r)
{
	struct rec_stop b;

	body_into(r, &b);
	if (b.what == CLIENT_RESTART && h->stopping)
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
	h->stopping = h->restarting = false;
	h->state = LIFE_DOWN;
}

/* Run numbers, exits and output go on; what was decided in the life before does not. */
static void on_opened(struct history *h, const struct record *r)
{
	h->pid = h->init_pid = 0;
	h->cgroup[0] = '\0';
	h->stopping = h->restarting = h->up_once = false;
	h->opened = true;
	h->state = LIFE_NEW;
}

/* The seq that follows is the snapshot's own; strings are only trusted up to their arrays' ends. */
static void on_snapshot(struct history *h, const struct record *r)
{
	struct history was;

	body_into(r, &was);
	if (r->body_len < offsetof(struct history, ready_run) || (unsigned)was.state >= LIFE_STATES)
		return;
	*h = was;
	h->seq = r->seq;
	h->cgroup[sizeof(h->cgroup) - 1] = '\0';
	h->boot_id[BOOT_ID_LEN] = '\0';
}

static void on_ready(struct history *h, const struct record *r)
{
	h->ready_run = r->run;
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
	[RECORD_EXIT_GAP] = on_other_exit,
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
};

void history_apply(struct history *h, const struct record *r)
{
	h->seq = r->seq;
	if (r->type < array_size(handlers) && handlers[r->type])
		handlers[r->type](h, r); /* a type of a later release is skipped */
}

static int journal_load(int state_dirfd, char **data, size_t *len)
{
	auto_fd fd = openat(state_dirfd, "journal", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	auto_free char *buf = NULL;
	off_t size;
	ssize_t n;

	if (fd < 0)
		return errno == ENOENT ? fault_plain(-ENOENT, "no journal")
				       : fault(-errno, "open journal");
	size = lseek(fd, 0, SEEK_END);
	if (size < 0 || size > (off_t)JOURNAL_READ_MAX)
		return fault_plain(-EFBIG, "journal: larger than %u bytes", JOURNAL_READ_MAX);
	buf = malloc((size_t)size + 1); /* malloc's alignment is what records want */
	if (!buf)
		return fault(-ENOMEM, "read journal");
	n = pread(fd, buf, (size_t)size, 0);
	if (n < 0)
		return fault(-errno, "read journal");
	*data = take(buf);
	*len = (size_t)n;
	return 0;
}

static int head_check(const struct journal_head *head, size_t len)
{
	if (len < sizeof(*head) || head->magic != JOURNAL_MAGIC || head->size < sizeof(*head) ||
		head->size > len || head->size % 8)
		return fault_plain(-EBADMSG, "journal: its head is damaged");
	if (head->version != JOURNAL_VERSION)
		return fault_plain(-EPROTO, "journal: version %u is not known here", head->version);
	return 0;
}

int history_read(int state_dirfd, struct history *ret, uint64_t *end)
{
	auto_free char *data = NULL;
	const struct journal_head *head;
	size_t len, at, n;
	uint64_t seq;
	int r;

	history_init(ret);
	r = journal_load(state_dirfd, &data, &len);
	if (r < 0)
		return r;
	head = (const void *)data;
	r = head_check(head, len);
	if (r < 0)
		return r;
	memcpy(ret->boot_id, head->boot_id, BOOT_ID_LEN);
	for (at = head->size, seq = head->seq_first;; at += n, seq++) {
		n = record_check(data + at, len - at, seq);
		if (n == 0)
			break;
		history_apply(ret, (const void *)(data + at));
	}
	if (end)
		*end = at;
	return 0;
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
