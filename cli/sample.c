#include "cli/sample.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/mem.h"

const char *sample_word(enum sample_state s)
{
	static const char *const words[SAMPLE_STATES] = {"created", "starting", "running",
		"unready", "paused", "restarting", "stopping", "exited", "orphaned", "lost",
		"damaged"};

	return (unsigned)s < SAMPLE_STATES ? words[s] : "unknown";
}

bool sample_alive(const struct sample *r)
{
	return r->state != SAMPLE_CREATED && r->state != SAMPLE_EXITED && r->state != SAMPLE_LOST;
}

static enum sample_state living(const struct sample *r)
{
	const struct history *h = &r->h;

	if (h->paused)
		return SAMPLE_PAUSED;
	switch (h->state) {
	case LIFE_RUNNING:
		return (r->notify && h->ready_run != h->run) ||
				       (r->has_health && r->health.run == h->run &&
					       !r->health.ready)
			       ? SAMPLE_UNREADY
			       : SAMPLE_RUNNING;
	case LIFE_BACKOFF:
		return SAMPLE_RESTARTING;
	case LIFE_STOPPING:
		return SAMPLE_STOPPING;
	case LIFE_NEW:
		return SAMPLE_CREATED;
	case LIFE_LAUNCHING:
	case LIFE_LAUNCHED:
	case LIFE_DOWN:
	case LIFE_REMOVED:
	case LIFE_STATES:
	default:
		return SAMPLE_STARTING;
	}
}

static enum sample_state state_of(const struct sample *r, int read, bool stale)
{
	if (read < 0)
		return SAMPLE_DAMAGED;
	if (r->h.state == LIFE_DOWN || r->h.state == LIFE_REMOVED)
		return SAMPLE_EXITED;
	if (stale)
		return SAMPLE_LOST;
	if (state_supervised(&r->dir) > 0)
		return living(r);
	return r->h.state == LIFE_NEW ? SAMPLE_CREATED : SAMPLE_ORPHANED;
}

/* A journal that has grown has another size, one that was compacted is another file. */
static void look_at_journal(struct sample *r)
{
	struct stat st = {0};
	bool stale = false;
	int read = 0;

	if (fstatat(r->dir.dirfd, "journal", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		st.st_ino == r->journal.st_ino && st.st_size == r->journal.st_size &&
		r->state != SAMPLE_DAMAGED) {
		stale = r->state == SAMPLE_LOST;
	} else {
		history_init(&r->h);
		read = state_history(&r->dir, &r->h, &stale);
		r->journal = st;
	}
	r->state = state_of(r, read, stale);
}

static void group_close(struct sample *r)
{
	if (r->group_nonce)
		cgstat_close(&r->group);
	r->group_nonce = 0;
	r->at = 0;
	memset(&r->now, 0, sizeof(r->now));
}

/* Of the time between the two looks, in thousandths. */
static void note_trend(struct sample *r)
{
	for (unsigned i = 0; i < PRESSURE_RESOURCES; i++) {
		enum cgstat_field f = cgstat_pressure(i, PRESSURE_SOME, PRESSURE_TOTAL);
		uint64_t span = r->at - r->before_at, grown = 0;

		if (r->before_at && span && r->now.value[f] > r->before.value[f])
			grown = (r->now.value[f] - r->before.value[f]) * 1000 / span;
		memmove(&r->trend[i][0], &r->trend[i][1],
			(SAMPLE_TREND - 1) * sizeof(r->trend[i][0]));
		r->trend[i][SAMPLE_TREND - 1] = (uint16_t)(grown > 1000 ? 1000 : grown);
	}
}

static void look_at_group(struct sample *r, const struct cghier *hier)
{
	bool there = sample_alive(r) && r->h.init_pid > 0;

	if (r->group_nonce && (!there || r->group_nonce != r->h.launch_nonce))
		group_close(r);
	if (there && !r->group_nonce) {
		if (cgstat_open(&r->group, hier, r->cgroup) == 0)
			return;
		r->group_nonce = r->h.launch_nonce;
	}
	if (!r->group_nonce)
		return;
	r->before = r->now;
	r->before_at = r->at;
	cgstat_read(&r->group, &r->now);
	r->at = now_mono();
	note_trend(r);
}

static void sample_free(struct sample *r)
{
	group_close(r);
	state_close(&r->dir);
	free(r);
}

/* NULL: it is gone since it was listed, or there is no memory. */
static struct sample *sample_new(const char *id)
{
	struct sample *r = calloc(1, sizeof(*r));
	struct settings settings;

	if (!r)
		return NULL;
	if (state_open(id, &r->dir) < 0) {
		free(r);
		return NULL;
	}
	r->state = SAMPLE_DAMAGED;
	cgstat_init(&r->group);
	if (settings_read(r->dir.dirfd, &settings) == 0) {
		memcpy(r->cgroup, settings.cgroup, sizeof(r->cgroup));
		r->notify = settings.flags & SETTINGS_NOTIFY;
		r->looked_after = settings.flags &
				  (SETTINGS_NOTIFY | SETTINGS_NOTIFY_SOCKET | SETTINGS_HEALTH);
		if (settings.flags & SETTINGS_HEALTH)
			health_read(r->dir.dirfd, &r->probes); /* else there are none */
	}
	return r;
}

static struct sample *find(const struct samples *s, const char *id)
{
	for (size_t i = 0; i < s->len; i++)
		if (strcmp(s->rows[i]->dir.id, id) == 0)
			return s->rows[i];
	return NULL;
}

static int add(struct samples *s, struct sample *r)
{
	struct sample **grown = realloc(s->rows, (s->len + 1) * sizeof(*grown));

	if (!grown) {
		sample_free(r);
		return fault(-ENOMEM, "list");
	}
	s->rows = grown;
	s->rows[s->len++] = r;
	return 0;
}

/* Once a round, under however many names: of two looks at once there is no rate. */
static int look(struct samples *s, const char *id)
{
	struct sample *r = find(s, id);
	int e = 0;

	if (r && r->seen)
		return 0;
	if (r && !state_current(&r->dir)) /* another one of its name */
		return 0;		  /* is looked at the next time */
	if (!r) {
		r = sample_new(id);
		if (!r)
			return 0;
		e = add(s, r);
	}
	if (e < 0)
		return e;
	r->seen = true;
	r->has_health = r->looked_after && health_state_read(r->dir.dirfd, &r->health) == 0;
	look_at_journal(r);
	look_at_group(r, &s->hier);
	return 0;
}

static void drop_unseen(struct samples *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->len; i++) {
		if (s->rows[i]->seen)
			s->rows[kept++] = s->rows[i];
		else
			sample_free(s->rows[i]);
	}
	s->len = kept;
}

static int by_id(const void *a, const void *b)
{
	return strcmp((*(struct sample *const *)a)->dir.id, (*(struct sample *const *)b)->dir.id);
}

int samples_take(struct samples *s, char *const *ids, size_t len)
{
	char **all = NULL;
	int r = ids ? 0 : state_list(&all, &len);

	for (size_t i = 0; i < s->len; i++)
		s->rows[i]->seen = false;
	for (size_t i = 0; r == 0 && i < len; i++)
		r = look(s, ids ? ids[i] : all[i]);
	if (all)
		samples_free_ids(all, len);
	drop_unseen(s);
	if (s->len)
		qsort(s->rows, s->len, sizeof(*s->rows), by_id);
	return r;
}

int samples_open(struct samples *s)
{
	memset(s, 0, sizeof(*s));
	return cghier_find(&s->hier);
}

void samples_close(struct samples *s)
{
	for (size_t i = 0; i < s->len; i++)
		sample_free(s->rows[i]);
	free(s->rows);
	memset(s, 0, sizeof(*s));
}

int samples_find(char **names, size_t len, char ***ret)
{
	char **ids = calloc(len + 1, sizeof(*ids));
	int r = ids ? 0 : fault(-ENOMEM, "list");

	for (size_t i = 0; r == 0 && i < len; i++) {
		struct state s;

		r = state_find(names[i], &s);
		if (r < 0)
			break;
		ids[i] = strdup(s.id);
		state_close(&s);
		if (!ids[i])
			r = fault(-ENOMEM, "list");
	}
	*ret = ids;
	if (r < 0 && ids) {
		samples_free_ids(ids, len);
		*ret = NULL;
	}
	return r;
}

void samples_free_ids(char **ids, size_t len)
{
	for (size_t i = 0; ids && i < len; i++)
		free(ids[i]);
	free(ids);
}

double sample_cpu(const struct sample *r)
{
	uint64_t now = r->now.value[CGSTAT_CPU_USAGE], before = r->before.value[CGSTAT_CPU_USAGE];

	if (!r->at || !r->before_at || r->at == r->before_at || now < before ||
		!cgstat_has(&r->now, CGSTAT_CPU_USAGE) || !cgstat_has(&r->before, CGSTAT_CPU_USAGE))
		return -1;
	return (double)(now - before) * 100 / (double)(r->at - r->before_at);
}
