#include "shim/overload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/log.h"
#include "ipc/base/mem.h"
#include "ipc/base/proc.h"
#include "ipc/fds.h"
#include "ipc/sum.h"
#include "monitor/rule_text.h"
#include "shim/shim.h"

#define MEM_MAGIC   0x64616f6c72766f68ULL
#define MEM_VERSION 4
#define SAMPLE_USEC (200 * USEC_PER_MSEC)
#define BLIND_USEC  USEC_PER_SEC /* what nobody wakes us for */
#define SYNC_USEC   (20 * USEC_PER_MSEC)
#define LATER_USEC  (2 * USEC_PER_SEC) /* who only reports makes no start slower */
#define QUIET_USEC  (3 * USEC_PER_SEC)

/* Memory --------------------------------------------------------------------------------------- */

static uint64_t sum_of(const struct rules *r)
{
	return sum_bytes(r, rules_size(r));
}

static bool believable(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && st.st_size == (off_t)sizeof(struct overload_mem);
}

/* A file of the state directory: it needs nobody to hold it, and outlives keeper and shim. Where
 * the file system is full the keeper must do. */
static int open_mem(struct shim *s)
{
	int fd =
		openat(SHIM_FD_STATE, "rulestate", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd >= 0 && fallocate(fd, 0, 0, sizeof(struct overload_mem)) == 0)
		return fd;
	log_warn("rulestate: %s", strerror(errno));
	fd_close(&fd);
	unlinkat(SHIM_FD_STATE, "rulestate", 0);
	fd = memfd_create("holdfast-rules", MFD_CLOEXEC);
	if (fd >= 0)
		link_keeper_hold(s, HELD_RULES, 0, fd);
	return fd;
}

static int map_mem(struct overload *o, int fd)
{
	void *map;

	if (fd < 0)
		return fault(-errno, "state of the rules");
	if (ftruncate(fd, sizeof(struct overload_mem)) < 0) {
		close(fd);
		return fault(-errno, "state of the rules");
	}
	map = mmap(NULL, sizeof(struct overload_mem), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		close(fd);
		return fault(-errno, "state of the rules");
	}
	o->fd = fd;
	o->mem = map;
	return 0;
}

/* Of this boot: another one's times mean nothing any more. */
static bool sound(const struct overload_mem *m, const char *boot)
{
	return m->magic == MEM_MAGIC && m->size == sizeof(*m) && m->version == MEM_VERSION &&
	       m->current < 2 && memcmp(m->boot_id, boot, sizeof(m->boot_id)) == 0;
}

/* The number of the newest act, be it told already or not. */
static uint64_t acts_before(const struct shim *s, const struct overload_mem *m)
{
	uint64_t told = s->journal.now.rule_act;
	uint64_t last =
		m->ending_len && m->ending_len <= RULES_MAX ? m->ending[m->ending_len - 1].act : 0;

	return last > told ? last : told;
}

/* New memory is all zeros; acts go on counting behind the journal's newest. That of another set of
 * rules is not believed what it says of them: what they have changed is undone, once it is known
 * how things are. The sum comes last: who dies before finds another set's memory again. */
static void mem_begin(struct shim *s, struct overload *o)
{
	struct overload_mem *m = o->mem;
	uint64_t sum = sum_of(&o->rules);
	char boot[BOOT_ID_LEN + 1] = "";

	if (boot_id(boot) < 0)
		log_warn("%s", fault_text());
	if (sound(m, boot) && m->rules_sum == sum && !m->renew)
		return;
	if (sound(m, boot)) {
		m->stale = 1;
		if (m->ending_of != m->rules_sum)
			m->ending_len = 0;
	} else {
		memset(m, 0, offsetof(struct overload_mem, slots));
		m->undo.len = m->ending_len = 0;
	}
	memcpy(m->boot_id, boot, sizeof(boot));
	m->size = sizeof(*m);
	m->version = MEM_VERSION;
	m->current = 0;
	for (unsigned i = 0; i < 2; i++) {
		struct overload_slot *slot = overload_slot(o, i);

		memset(slot, 0, overload_slot_size(&o->rules));
		slot->first = acts_before(s, m) + 1;
	}
	m->renew = 0;
	m->magic = MEM_MAGIC;
	__atomic_store_n(&m->rules_sum, sum, __ATOMIC_RELEASE);
}

/* Looking -------------------------------------------------------------------------------------- */

static bool live(const struct shim *s)
{
	const struct history *h = &s->journal.now;

	return s->phase == PHASE_RUNNING && h->state == LIFE_RUNNING && !h->stopping &&
	       !h->restarting && !s->retiring;
}

static void on_woken(struct loop_io *io);

enum looking { LOOKED_AT, OPENED };

/* The group of this launch: another one's files tell nothing of it. */
static int look_at_group(struct shim *s)
{
	struct overload *o = s->overload;
	int r;

	if (o->nonce == s->launch_nonce)
		return LOOKED_AT;
	loop_io_finish(&o->woken);
	sense_close(&o->sense);
	o->sense.high_known = o->mem->high_nonce == s->launch_nonce;
	o->sense.high_was = o->sense.high_known ? o->mem->high_was : UINT64_MAX;
	r = sense_open(&o->sense, &s->hier, s->settings.cgroup, &o->rules);
	if (r < 0)
		return r;
	o->nonce = s->launch_nonce;
	o->mem->high_was = o->sense.high_was;
	o->mem->high_nonce = o->nonce;
	/* a duplicate: the watcher's own closes with it */
	loop_io_start(&o->woken, &s->loop, fcntl(o->sense.epoll, F_DUPFD_CLOEXEC, 3), on_woken, s);
	loop_io_want(&o->woken, false, false);
	if (o->sense.rounded && !o->said)
		log_info("rules: windows of pressure are rounded up to 2 s (no CAP_SYS_RESOURCE)");
	o->said = true;
	return OPENED;
}

static void put(struct sample *in, enum rule_input i, uint64_t value)
{
	in->in[i] = value;
	in->has |= 1ull << i;
}

static struct sample look(struct shim *s, bool drawn)
{
	struct overload *o = s->overload;
	struct sample in = {.run = s->journal.now.run};

	sense_read(&o->sense, drawn, &in);
	put(&in, INPUT_OUTPUT, pump_moved(&s->pump));
	put(&in, INPUT_HEALTH, o->failing);
	put(&in, INPUT_WATCHDOG, o->watchdog);
	return in;
}

/* The turn is computed beside the slot that counts, and counts when it is whole. */
static void decide(struct shim *s, const struct sample *in, uint64_t now)
{
	struct overload *o = s->overload;
	const struct overload_slot *was = overload_slot(o, o->mem->current);
	struct overload_slot *next = overload_slot(o, !o->mem->current);

	memcpy(&next->state, &was->state, rules_state_size(&o->rules));
	next->first = was->first + was->len;
	next->done = 0;
	next->len = rules_step(&o->rules, &next->state, in, now, next->acts);
	__atomic_store_n(&o->mem->current, !o->mem->current, __ATOMIC_RELEASE);
}

/* Nothing holds, nor is anything near to: changes and stalls wake us again. */
static bool may_sleep(struct shim *s, uint64_t now)
{
	struct overload *o = s->overload;

	if (o->mem->frozen_until || o->mem->throttle_nonce || o->failing ||
		(sense_crowded(&o->sense) && !o->rules.observe) ||
		rules_awake(&o->rules, &overload_slot(o, o->mem->current)->state)) {
		o->quiet_since = now;
		return false;
	}
	return now - o->quiet_since >= QUIET_USEC;
}

static void wake(struct shim *s)
{
	struct overload *o = s->overload;

	if (!o->awake) {
		loop_io_want(&o->woken, false, false);
		sense_wake(&o->sense);
		o->quiet_since = now_mono();
	}
	o->awake = true;
}

/* As much output as makes half a window of a rule's rate: 0: no rule is about it. */
static uint64_t flood_of(const struct rules *r)
{
	uint64_t least = 0;

	for (unsigned i = 0; i < r->len; i++) {
		uint64_t bytes = r->rule[i].threshold / 2 * r->rule[i].window_usec / USEC_PER_SEC;

		if (r->rule[i].signal == SIGNAL_OUTPUT && (!least || bytes < least))
			least = bytes ? bytes : 1;
	}
	return least;
}

static void sleep_now(struct shim *s)
{
	struct overload *o = s->overload;

	o->awake = false;
	sense_sleep(&o->sense);
	loop_io_want(&o->woken, true, false);
	pump_watch(&s->pump, flood_of(&o->rules));
	if (o->sense.blind && !o->rules.observe)
		loop_timer_set(&o->timer, BLIND_USEC);
}

/* One turn: sees, decides, and keeps the sample for people when it is time for one or when it is
 * one that they ask about. */
static void take_turn(struct shim *s, uint64_t now)
{
	struct overload *o = s->overload;
	bool drawn = overload_note_due(s), near;
	struct sample in = look(s, drawn);

	decide(s, &in, now);
	near = !may_sleep(s, now);
	if (!drawn && (overload_slot(o, o->mem->current)->len || (!near && o->past.seq))) {
		in = look(s, true);
		drawn = true;
	}
	if (drawn)
		overload_note(s, &in, near);
}

static void on_timer(struct loop_timer *t)
{
	struct shim *s = t->ctx;
	struct overload *o = s->overload;
	uint64_t now;
	int looking;

	o->seen_nonce = s->launch_nonce;
	o->seen_run = s->journal.now.run;
	o->seen_state = (uint32_t)s->journal.now.state;
	if (s->sync_tag) { /* what is true now is being told: not before */
		loop_timer_set(t, SYNC_USEC);
		return;
	}
	if (o->mem->stale)
		overload_end(s);
	overload_carry_out(s);
	looking = live(s) ? look_at_group(s) : -ESRCH;
	if (looking < 0)
		return;
	wake(s);
	if (looking == OPENED && (!o->sense.untold || o->rules.observe))
		o->quiet_since = 0; /* what it does next wakes us: no need to look on */
	now = now_mono();
	take_turn(s, now);
	overload_carry_out(s);
	overload_finish_kill(s, now);
	if (!live(s))
		return; /* it was one of those: looked at again with the next run */
	if (may_sleep(s, now))
		sleep_now(s);
	else
		loop_timer_set(t, SAMPLE_USEC);
}

static void on_woken(struct loop_io *io)
{
	struct shim *s = io->ctx;

	wake(s);
	loop_timer_set(&s->overload->timer, 0);
}

static void look_soon(struct shim *s)
{
	if (s->overload)
		loop_timer_set(&s->overload->timer, 0);
}

/* From outside --------------------------------------------------------------------------------- */

void overload_changed(struct shim *s)
{
	const struct overload *o = s->overload;

	if (o && (o->seen_run != s->journal.now.run || o->seen_nonce != s->launch_nonce ||
			 o->seen_state != (uint32_t)s->journal.now.state))
		loop_timer_set(&s->overload->timer,
			o->rules.observe && o->nonce != s->launch_nonce ? LATER_USEC : 0);
}

void overload_limits_change(struct shim *s)
{
	struct overload *o = s->overload;

	if (!o)
		return;
	overload_undo(s);
	loop_io_finish(&o->woken);
	sense_close(&o->sense);
	o->mem->high_nonce = o->nonce = 0;
	o->awake = false;
	look_soon(s); /* in another turn: with the limits as they are then */
}

void overload_health(struct shim *s, bool failing)
{
	if (!s->overload || s->overload->failing == failing)
		return;
	s->overload->failing = failing;
	look_soon(s);
}

void overload_watchdog(struct shim *s)
{
	if (!s->overload)
		return;
	s->overload->watchdog++;
	look_soon(s);
}

void overload_flood(struct shim *s)
{
	if (s->overload && !s->overload->awake)
		look_soon(s);
}

/* Only as large as these rules need: each container has one. */
static struct overload *make(const struct rules *rules)
{
	struct overload *o = calloc(1, offsetof(struct overload, rules) + rules_size(rules));

	if (o)
		memcpy(&o->rules, rules, rules_size(rules));
	return o;
}

/* Takes over the predecessor's memory, or makes some. Older releases had it held by the keeper. */
static int arm(struct shim *s, struct overload *o)
{
	int r = map_mem(o, believable(s->rules_held) ? fd_take(&s->rules_held) : open_mem(s));

	if (r < 0)
		return r;
	mem_begin(s, o);
	loop_timer_init(&o->timer, &s->loop, on_timer, s);
	s->overload = o;
	look_soon(s);
	return 0;
}

static int begin(struct shim *s)
{
	auto_free struct rules *rules = malloc(sizeof(*rules));
	struct overload *o = NULL;
	int r = rules ? rules_read(SHIM_FD_STATE, rules) : -ENOMEM;

	if (r > 0)
		o = make(rules);
	if (r <= 0 || !o)
		return r > 0 ? fault(-ENOMEM, "rules") : r;
	o->fd = o->woken.fd = -1;
	sense_init(&o->sense);
	r = arm(s, o);
	if (r < 0)
		free(o);
	return r;
}

static void on_later(struct loop_timer *t)
{
	if (begin(t->ctx) < 0)
		log_warn("%s", fault_text());
}

/* Who has stated no rule is watched a little later: it makes no start slower, and what is over by
 * then costs nothing. */
int overload_setup(struct shim *s)
{
	bool begun = faccessat(SHIM_FD_STATE, "rulestate", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	bool stated = faccessat(SHIM_FD_STATE, "rules", F_OK, AT_SYMLINK_NOFOLLOW) == 0;

	loop_timer_init(&s->overload_timer, &s->loop, on_later, s);
	if (stated || begun || s->rules_held >= 0)
		return begin(s);
	loop_timer_set(&s->overload_timer, LATER_USEC);
	return 0;
}

/* As a successor would: from what stands in the state directory and in the memory. */
void overload_replace(struct shim *s)
{
	struct overload *o = s->overload;
	bool failing = o && o->failing;

	if (o) {
		o->mem->renew = 1;
		s->rules_held = fd_take(&o->fd);
	}
	overload_finish(s);
	if (begin(s) == 0) {
		s->overload->failing = failing;
		if (s->overload->mem->stale)
			overload_end(s);
		return;
	}
	journal_warn(&s->journal, "rules: %s", fault_text());
	loop_timer_set(&s->overload_timer, LATER_USEC);
}

void overload_finish(struct shim *s)
{
	struct overload *o = s->overload;

	loop_timer_cancel(&s->overload_timer);
	if (!o)
		return;
	s->overload = NULL;
	loop_timer_cancel(&o->timer);
	loop_io_finish(&o->woken);
	sense_close(&o->sense);
	munmap(o->mem, sizeof(*o->mem));
	fd_close(&o->fd);
	free(o);
}
