#include "cli/ps_filter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/base/fault.h"
#include "ipc/base/mem.h"
#include "ipc/base/parse.h"
#include "ipc/health.h"

static const char *const states[] = {"created", "starting", "running", "restarting", "stopping",
	"paused", "exited", "lost", "orphaned", "damaged"};

static int add_text(struct spec_list *list, const char *text)
{
	return spec_list_add(list, &text, sizeof(text));
}

static int add_state(
	struct ps_filter *f, const struct option *o, const char *value, const char *text)
{
	for (size_t i = 0; i < array_size(states); i++)
		if (strcmp(states[i], text) == 0)
			return add_text(&f->states, text);
	return option_bad(o, value,
		"no state (use created, starting, running, restarting, stopping, paused, exited, lost, "
		"orphaned or damaged)");
}

static int add_exited(
	struct ps_filter *f, const struct option *o, const char *value, const char *text)
{
	uint64_t code;
	int status;

	if (parse_u64(option_shown(o), text, 0, 255, &code) < 0)
		return option_bad(o, value, "no exit status (use exited=0 to exited=255)");
	status = (int)code;
	return spec_list_add(&f->exits, &status, sizeof(status));
}

static int add_health(
	struct ps_filter *f, const struct option *o, const char *value, const char *text)
{
	for (uint32_t v = 0; v < HEALTHS; v++)
		if (strcmp(health_verdict_name(v), text) == 0)
			return spec_list_add(&f->healths, &v, sizeof(v));
	return option_bad(o, value, "no health (use none, starting, healthy or unhealthy)");
}

int ps_filter_add(void *ctx, const struct option *o, const char *value)
{
	struct ps_filter *f = (void *)((char *)ctx + o->at);
	const char *is = strchr(value, '=');
	size_t len = is ? (size_t)(is - value) : 0;

	if (len == 0 || !is[1])
		return option_bad(o, value, "use KEY=VALUE: status=running, name=web, label=tier");
	if (len == 6 && strncmp(value, "status", len) == 0)
		return add_state(f, o, value, is + 1);
	if (len == 4 && strncmp(value, "name", len) == 0)
		return add_text(&f->names, is + 1);
	if (len == 5 && strncmp(value, "label", len) == 0)
		return is[1] == '=' ? option_bad(o, value, "use label=KEY or label=KEY=VALUE")
				    : add_text(&f->labels, is + 1);
	if (len == 6 && strncmp(value, "exited", len) == 0)
		return add_exited(f, o, value, is + 1);
	if (len == 6 && strncmp(value, "health", len) == 0)
		return add_health(f, o, value, is + 1);
	return option_bad(o, value, "no such filter (use status, name, label, health or exited)");
}

void ps_filter_finish(struct ps_filter *f)
{
	free(f->states.items);
	free(f->names.items);
	free(f->labels.items);
	free(f->exits.items);
	free(f->healths.items);
}

static bool state_fits(const struct spec_list *list, const char *state)
{
	const char *const *want = list->items;

	for (size_t i = 0; i < list->len; i++)
		if (strcmp(want[i], state) == 0)
			return true;
	return list->len == 0;
}

static bool name_fits(const struct spec_list *list, const char *id)
{
	const char *const *want = list->items;

	for (size_t i = 0; i < list->len; i++)
		if (strstr(id, want[i]))
			return true;
	return list->len == 0;
}

static bool labels_fit(const struct spec_list *list, const struct state *s)
{
	const char *const *want = list->items;

	for (size_t i = 0; i < list->len; i++)
		if (!spec_has_label(s->dirfd, want[i]))
			return false;
	return true;
}

static bool exit_fits(const struct spec_list *list, const struct history *h)
{
	const int *want = list->items;

	for (size_t i = 0; h->state == LIFE_DOWN && h->last.run && i < list->len; i++)
		if (want[i] == exit_status(&h->last))
			return true;
	return list->len == 0;
}

static bool health_fits(const struct spec_list *list, uint32_t health)
{
	const uint32_t *want = list->items;

	for (size_t i = 0; i < list->len; i++)
		if (want[i] == health)
			return true;
	return list->len == 0;
}

bool ps_filter_fits(const struct ps_filter *f, const struct ps_known *k)
{
	return health_fits(&f->healths, k->health) && state_fits(&f->states, k->name_of_state) &&
	       name_fits(&f->names, k->state->id) && exit_fits(&f->exits, k->now) &&
	       labels_fit(&f->labels, k->state);
}

bool ps_filter_ended(const struct ps_filter *f)
{
	return f->states.len > 0 || f->exits.len > 0;
}
