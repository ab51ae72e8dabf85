/* What --label, --ulimit and --oom-score-adj put into config.json, and the labels read back. */
#include <errno.h>
#include <string.h>

#include "cli/spec_doc.h"
#include "ipc/base/fault.h"
#include "ipc/base/file.h"
#include "ipc/base/mem.h"

static int labels_apply(struct doc *d)
{
	char *const *label = d->spec->setup.labels.items;
	size_t len = d->spec->setup.labels.len;
	struct json_object *notes;
	int r = len ? section(d->top, "annotations", json_type_object, &notes) : 0;

	for (size_t i = 0; r == 0 && i < len; i++) {
		auto_free char *key = strndup(label[i], strcspn(label[i], "="));

		if (!key)
			return fault(-ENOMEM, "labels");
		text_set(notes, key, strchr(label[i], '=') + 1);
	}
	return r;
}

static void ulimit_put(struct json_object *list, const struct spec_ulimit *u)
{
	struct json_object *o = json_object_new_object();

	for (size_t i = json_object_array_length(list); i-- > 0;) {
		const char *type = text_get(json_object_array_get_idx(list, i), "type");

		if (type && strcmp(type, u->type) == 0)
			json_object_array_del_idx(list, i, 1);
	}
	text_set(o, "type", u->type);
	number_set(o, "soft", u->soft);
	number_set(o, "hard", u->hard);
	json_object_array_add(list, o);
}

int setup_apply(struct doc *d)
{
	const struct spec_setup *s = &d->spec->setup;
	const struct spec_ulimit *u = s->ulimits.items;
	struct json_object *list;
	int r = s->ulimits.len ? section(d->process, "rlimits", json_type_array, &list) : 0;

	for (size_t i = 0; r == 0 && i < s->ulimits.len; i++)
		ulimit_put(list, &u[i]);
	if (s->oom_score_set)
		json_object_object_add(
			d->process, "oomScoreAdj", json_object_new_int64(s->oom_score));
	return r < 0 ? r : labels_apply(d);
}

bool spec_has_label(int state_dirfd, const char *label)
{
	auto_free char *data = NULL, *key = strndup(label, strcspn(label, "="));
	struct json_object *top = NULL, *notes;
	ssize_t n = file_read(state_dirfd, "config.json", CONFIG_MAX, &data);
	const char *want = label + strcspn(label, "="), *have = NULL;
	bool has;

	if (n < 0 || !key || config_parse("config.json", data, (size_t)n, &top) < 0)
		return false;
	if (json_object_object_get_ex(top, "annotations", &notes))
		have = text_get(notes, key);
	has = have && (!*want || strcmp(have, want + 1) == 0);
	json_object_put(top);
	return has;
}
