/* The list of a container's rules: made, kept, and the sets that come with names. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/file.h"
#include "ipc/base/mem.h"
#include "monitor/rule_text.h"

#define FILE_NAME "rules"

int rules_add(const char *name, struct rules *r, const struct rule *one)
{
	for (unsigned i = 0; i < r->len; i++)
		if (strcmp(r->rule[i].name, one->name) == 0)
			return fault_plain(-EINVAL,
				"%s: two rules are called \"%s\" (give one another name)", name,
				one->name);
	if (r->len == RULES_MAX)
		return fault_plain(-EINVAL, "%s \"%s\": more than %u rules (leave some out)", name,
			one->name, RULES_MAX);
	r->rule[r->len++] = *one;
	return 0;
}

int rules_write(int state_dirfd, const struct rules *r)
{
	char text[RULES_MAX * (RULE_TEXT_MAX + 64)];
	size_t at = 0;

	if (!r || !r->len || r->observe)
		return unlinkat(state_dirfd, FILE_NAME, 0) < 0 && errno != ENOENT
			       ? fault(-errno, "remove " FILE_NAME)
			       : 0;
	for (unsigned i = 0; i < r->len; i++) {
		rule_print(&r->rule[i], text + at, sizeof(text) - at - 1);
		at += strlen(text + at);
		text[at++] = '\n';
	}
	return file_replace(state_dirfd, FILE_NAME, text, at, 0600);
}

static int observe(struct rules *ret)
{
	static const char *const lines[] = {
		"memory: memory.pressure.full > 20% over 4s for 4s: event; cooldown 10m",
		"pids: pids.max > 0 over 2s: event; cooldown 10m",
	};

	for (size_t i = 0; i < array_size(lines); i++)
		if (rule_parse(FILE_NAME, lines[i], &ret->rule[ret->len++]) < 0)
			return -EINVAL;
	ret->observe = true;
	return (int)ret->len;
}

int rules_read(int state_dirfd, struct rules *ret)
{
	auto_free char *text = NULL;
	char *save = NULL;
	ssize_t n =
		file_read(state_dirfd, FILE_NAME, RULES_MAX * (size_t)(RULE_TEXT_MAX + 64), &text);
	int r = 0;

	memset(ret, 0, sizeof(*ret));
	if (n < 0)
		return n == -ENOENT ? observe(ret) : (int)n;
	for (char *line = strtok_r(text, "\n", &save); r == 0 && line;
		line = strtok_r(NULL, "\n", &save)) {
		struct rule one;

		r = rule_parse(FILE_NAME, line, &one);
		if (r == 0)
			r = rules_add(FILE_NAME, ret, &one);
	}
	return r < 0 ? r : (int)ret->len;
}

/* Each set leaves alone what is normal for its kind: a build that scans files reclaims its cache
 * without anybody waiting for it, a database uses all memory that it may. No file that is in memory
 * counts as a leak, however often it was read: memory.working-set has it for as long as nothing
 * else wants its place. */
static const struct {
	const char *name;
	const char *rules[6];
} presets[] = {
	{"web", {"web-memory: memory.pressure.full > 25% over 4s for 4s: notify, 10s, throttle(80%), "
		 "20s, dump, restart; cooldown 5m; limit 3/1h",
			"web-leak: memory.unreclaimable > 92% for 10s: notify, 20s, dump, restart; "
			"cooldown 5m; limit 3/1h",
			"web-pids: pids.max > 0 over 2s for 1s: dump, kill; cooldown 1m; limit 5/1h",
			"web-cpu: cpu.throttled > 80% over 10s for 30s: event; cooldown 10m",
			"web-output: output > 20M/s over 4s for 10s: event; cooldown 10m"}},
	{"database",
		{"database-memory: memory.pressure.full > 40% over 8s for 8s: notify, 30s, event, 30s, "
		 "dump; cooldown 10m",
			"database-leak: memory.unreclaimable > 97% for 20s: notify, 60s, dump, "
			"restart(60s); cooldown 15m; limit 2/1h",
			"database-io: io.pressure.full > 70% over 10s for 30s: event; cooldown 10m",
			"database-pids: pids.max > 0 over 2s for 5s: dump; cooldown 5m"}},
	{"batch",
		{"batch-memory: memory.pressure.full > 60% over 10s for 30s: notify, 30s, dump; "
		 "cooldown 15m",
			"batch-pids: pids.max > 0 over 2s for 1s: dump, kill; cooldown 1m; limit 5/1h",
			"batch-output: output > 50M/s over 4s for 30s: event; cooldown 10m"}},
};

int rules_preset(const char *name, const char *preset, struct rules *r)
{
	int err = 0;

	for (size_t p = 0; p < array_size(presets); p++) {
		if (strcmp(presets[p].name, preset) != 0)
			continue;
		for (size_t i = 0;
			err == 0 && i < array_size(presets[p].rules) && presets[p].rules[i]; i++) {
			struct rule one;

			err = rule_parse(name, presets[p].rules[i], &one);
			if (err == 0)
				err = rules_add(name, r, &one);
		}
		return err;
	}
	return fault_plain(
		-EINVAL, "%s \"%.100s\": no such set (use web, database or batch)", name, preset);
}
