/* Reads /proc/self/mountinfo once. A line's interesting parts: field 5 is the mount point, behind
 * the " - " come type, source and the super block's options, where v1 names its controllers
 * (proc(5)). On a hybrid host the v2 tree exists beside them and may hold controllers that v1 left
 * over. */
#include "ipc/cghier.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/base/fault.h"
#include "ipc/base/file.h"
#include "ipc/base/mem.h"

#define MOUNTINFO_MAX (16u << 20)

static const struct {
	const char *v1, *v2;
} names[CG_CONTROLLERS] = {
	[CG_MEMORY] = {"memory", "memory"},
	[CG_CPU] = {"cpu", "cpu"},
	[CG_CPUACCT] = {"cpuacct", "cpu"},
	[CG_PIDS] = {"pids", "pids"},
	[CG_DEVICES] = {"devices", ""},
	[CG_FREEZER] = {"freezer", ""},
	[CG_CPUSET] = {"cpuset", "cpuset"},
	[CG_BLKIO] = {"blkio", "io"},
};

/* Is word one of the list's members? */
static bool listed(const char *list, const char *word, char sep)
{
	const char ends[] = {sep, '\0'};
	size_t n = strlen(word), len;

	for (const char *p = list; *p; p += len + (p[len] == sep)) {
		len = strcspn(p, ends);
		if (n > 0 && len == n && strncmp(p, word, n) == 0)
			return true;
	}
	return false;
}

/* mountinfo writes space, tab, newline and backslash as \ooo. */
static bool unescape(const char *s, size_t n, char *out, size_t size)
{
	size_t at = 0;

	for (size_t i = 0; i < n; i++) {
		char c = s[i];

		if (c == '\\' && i + 3 < n) {
			c = (char)((s[i + 1] - '0') * 64 + (s[i + 2] - '0') * 8 + (s[i + 3] - '0'));
			i += 3;
		}
		if (at + 1 >= size)
			return false;
		out[at++] = c;
	}
	out[at] = '\0';
	return true;
}

static void take_v1(struct cghier *h, const char *point, const char *options)
{
	for (int c = 0; c < CG_CONTROLLERS; c++) {
		if (h->at[c].root[0] || !listed(options, names[c].v1, ','))
			continue;
		snprintf(h->at[c].root, sizeof(h->at[c].root), "%s", point);
		h->at[c].v2 = false;
	}
}

static void take_line(struct cghier *h, char *line, bool *any_v1)
{
	char *save = NULL, *field = NULL, *tail = strstr(line, " - ");
	char type[32], options[512], point[sizeof(h->unified)];

	if (!tail || sscanf(tail, " - %31s %*s %511s", type, options) != 2)
		return;
	if (strcmp(type, "cgroup") != 0 && strcmp(type, "cgroup2") != 0)
		return;
	*tail = '\0';
	field = strtok_r(line, " ", &save);
	for (int i = 1; field && i < 5; i++)
		field = strtok_r(NULL, " ", &save);
	if (!field || !unescape(field, strlen(field), point, sizeof(point)))
		return;
	if (strcmp(type, "cgroup2") == 0) {
		if (!h->unified[0])
			snprintf(h->unified, sizeof(h->unified), "%s", point);
		return;
	}
	*any_v1 = true;
	take_v1(h, point, options);
}

_Static_assert(sizeof(((struct cghier *)0)->unified) == sizeof(((struct cg_place *)0)->root),
	"a place takes the v2 tree's mount point as it is");

/* What v1 does not have may be in the v2 tree; devices and freezer always are (as a BPF program and
 * as cgroup.freeze). */
static int take_v2(struct cghier *h)
{
	char path[160], list[512];
	ssize_t n;

	if (!h->unified[0])
		return 0;
	snprintf(path, sizeof(path), "%s/cgroup.controllers", h->unified);
	n = file_read_buf(AT_FDCWD, path, list, sizeof(list));
	if (n < 0)
		return (int)n;
	list[strcspn(list, "\n")] = '\0';
	for (int c = 0; c < CG_CONTROLLERS; c++) {
		if (h->at[c].root[0] || (names[c].v2[0] && !listed(list, names[c].v2, ' ')))
			continue;
		memcpy(h->at[c].root, h->unified, sizeof(h->at[c].root));
		h->at[c].v2 = true;
	}
	return 0;
}

int cghier_find(struct cghier *ret)
{
	auto_free char *text = NULL;
	bool any_v1 = false;
	char *save = NULL;
	ssize_t n;

	memset(ret, 0, sizeof(*ret));
	n = file_read(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_MAX, &text);
	if (n < 0)
		return (int)n;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		take_line(ret, line, &any_v1);
	ret->pure_v2 = ret->unified[0] && !any_v1;
	return take_v2(ret);
}

int cghier_each(const struct cghier *h, int (*f)(void *ctx, const char *root, bool v2), void *ctx)
{
	int r = h->unified[0] ? f(ctx, h->unified, true) : 0;

	for (int c = 0; r == 0 && c < CG_CONTROLLERS; c++) {
		bool seen = h->at[c].v2 || !h->at[c].root[0];

		for (int k = 0; k < c; k++) /* co-mounted: cpu,cpuacct */
			seen |= strcmp(h->at[k].root, h->at[c].root) == 0;
		if (!seen)
			r = f(ctx, h->at[c].root, false);
	}
	return r;
}
