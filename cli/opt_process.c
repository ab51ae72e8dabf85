#include "cli/opt_process.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "cli/caps.h"
#include "cli/envfile.h"
#include "cli/run_options.h"
#include "ipc/base/fault.h"
#include "ipc/base/mem.h"
#include "ipc/base/parse.h"
#include "ipc/rlimits.h"
#include "ipc/sysctl.h"

static struct spec_setup *setup(void *ctx)
{
	return &((struct run *)ctx)->spec.setup;
}

/* Takes over text. */
static int text_add(struct spec_list *list, char *text)
{
	int r = text ? spec_list_add(list, &text, sizeof(text)) : fault(-ENOMEM, "options");

	if (r < 0)
		free(text);
	return r;
}

int opt_env(void *ctx, const struct option *o, const char *value)
{
	char *pair = NULL;
	int r;

	if (!*value || *value == '=')
		return option_bad(
			o, value, "has no name (use NAME=VALUE, or NAME to pass yours on)");
	r = env_pair(value, &pair);
	return r < 0 || !pair ? r : text_add(&((struct run *)ctx)->spec.env, pair);
}

int opt_env_file(void *ctx, const struct option *o, const char *value)
{
	return envfile_read(value, &setup(ctx)->env_file);
}

int opt_label(void *ctx, const struct option *o, const char *value)
{
	char *text = NULL;

	if (!*value || *value == '=')
		return option_bad(o, value, "has no key (use KEY=VALUE, or KEY alone)");
	if (asprintf(&text, "%s%s", value, strchr(value, '=') ? "" : "=") < 0)
		text = NULL;
	return text_add(&setup(ctx)->labels, text);
}

int opt_cap(void *ctx, const struct option *o, const char *value)
{
	uint64_t bits = caps_parse(value);

	if (!bits)
		return option_bad(o, value,
			"no such capability (use ALL, or a name of capabilities(7): NET_RAW)");
	*(uint64_t *)(void *)((char *)ctx + o->at) |= bits;
	return 0;
}

int opt_sysctl(void *ctx, const struct option *o, const char *value)
{
	size_t n = strcspn(value, "=");
	char key[200], path[200];

	if (n >= sizeof(key) || !value[n] || !value[n + 1])
		return option_bad(o, value, "use KEY=VALUE: net.core.somaxconn=1024");
	snprintf(key, sizeof(key), "%.*s", (int)n, value);
	if (sysctl_path(key, path, sizeof(path)) < 0)
		return option_bad(o, value,
			"not a sysctl's name (use one of sysctl(8): net.core.somaxconn=1024)");
	for (const char *p = value + n; *p; p++)
		if ((unsigned char)*p < ' ' && *p != '\t')
			return option_bad(o, value, "has a control character in it (leave it out)");
	if (!sysctl_namespace(path))
		return option_bad(o, value,
			"belongs to the whole host (set it there; a container has its own net.*, "
			"kernel.shm*, kernel.msg*, kernel.sem, fs.mqueue.* and kernel.domainname)");
	return text_add(&setup(ctx)->sysctls, strdup(value));
}

static int limit_number(const char *text, size_t len, uint64_t *ret)
{
	char part[24];

	*ret = RLIM_INFINITY;
	if (len >= sizeof(part))
		return -EINVAL;
	snprintf(part, sizeof(part), "%.*s", (int)len, text);
	if (strcmp(part, "-1") == 0 || strcmp(part, "unlimited") == 0)
		return 0;
	return parse_u64("", part, 0, INT64_MAX, ret);
}

/* NAME=SOFT[:HARD] */
int opt_ulimit(void *ctx, const struct option *o, const char *value)
{
	size_t name = strcspn(value, "="), soft = strcspn(value, ":");
	struct spec_ulimit u = {0};

	for (const struct rlimit_row *row = rlimit_rows; row->name; row++)
		if (strlen(row->name) == name && strncmp(value, row->name, name) == 0)
			u.type = row->type;
	if (!u.type)
		return option_bad(o, value,
			"no such limit (use NAME=SOFT[:HARD] with as, core, cpu, data, fsize, locks, "
			"memlock, msgqueue, nice, nofile, nproc, rss, rtprio, rttime, sigpending or "
			"stack)");
	if (!value[name] || soft < name ||
		limit_number(value + name + 1, soft - name - 1, &u.soft) < 0)
		return option_bad(
			o, value, "use NAME=SOFT[:HARD] with numbers, or -1 for no limit");
	u.hard = u.soft;
	if (value[soft] && limit_number(value + soft + 1, strlen(value + soft + 1), &u.hard) < 0)
		return option_bad(
			o, value, "use NAME=SOFT[:HARD] with numbers, or -1 for no limit");
	if (u.soft > u.hard)
		return option_bad(o, value, "SOFT is above HARD (lower it)");
	return spec_list_add(&setup(ctx)->ulimits, &u, sizeof(u));
}

int opt_oom_score(void *ctx, const struct option *o, const char *value)
{
	struct spec_setup *s = setup(ctx);
	bool negative = value[0] == '-';
	uint64_t n;

	if (parse_u64("", value + negative, 0, 1000, &n) < 0)
		return option_bad(o, value, "not a number from -1000 to 1000");
	s->oom_score = negative ? -(int)n : (int)n;
	s->oom_score_set = true;
	return 0;
}

static int filter_choose(
	struct run *run, const struct option *o, const char *value, const char *what)
{
	struct spec_security *s = &run->spec.setup.security;

	run->settings.flags &= ~(uint32_t)SETTINGS_DEFAULT_SECCOMP;
	if (strcmp(what, "unconfined") == 0) {
		s->filter = FILTER_NONE;
		return 0;
	}
	run->settings.flags |= SETTINGS_DEFAULT_SECCOMP;
	s->filter = FILTER_DEFAULT;
	if (strcmp(what, "default") == 0 || strcmp(what, "builtin") == 0)
		return 0;
	if (!*what)
		return option_bad(
			o, value, "use seccomp=unconfined, seccomp=default or seccomp=FILE");
	s->filter = FILTER_FILE;
	s->filter_file = what;
	return 0;
}

static int label_choose(
	const struct option *o, const char *value, const char *what, const char *off)
{
	if (strcmp(what, off) == 0)
		return 0; /* that is how it is */
	return fault_plain(-EINVAL,
		"--%s \"%.200s\": profiles and labels of AppArmor and SELinux are not supported "
		"(use %.*s=%s)",
		o->name, value, (int)strcspn(value, "=:"), value, off);
}

static int privileges_choose(
	struct spec_security *s, const struct option *o, const char *value, const char *what)
{
	s->privileges_set = true;
	s->new_privileges = strcmp(what, "false") == 0;
	if (*what && strcmp(what, "true") != 0 && !s->new_privileges)
		return option_bad(o, value, "use no-new-privileges, or no-new-privileges=false");
	return 0;
}

/* WORD[=VALUE]; docker once wrote a colon there, and people still do. */
int opt_security(void *ctx, const struct option *o, const char *value)
{
	struct spec_security *s = &setup(ctx)->security;
	size_t n = strcspn(value, "=:");
	const char *what = value + n + (value[n] != '\0');

#define IS(word) (n == strlen(word) && strncmp(value, word, n) == 0)
	if (IS("no-new-privileges"))
		return privileges_choose(s, o, value, what);
	if (IS("seccomp"))
		return filter_choose(ctx, o, value, what);
	if (IS("apparmor"))
		return label_choose(o, value, what, "unconfined");
	if (IS("label"))
		return label_choose(o, value, what, "disable");
	if (IS("systempaths") && strcmp(what, "unconfined") == 0) {
		s->open_paths = true;
		return 0;
	}
#undef IS
	return option_bad(o, value,
		"not known (use no-new-privileges[=false], seccomp=unconfined|default|FILE, "
		"systempaths=unconfined, apparmor=unconfined or label=disable)");
}

int opt_process_check(const struct run *run)
{
	const struct spec_security *s = &run->spec.setup.security;

	/* Each run in place would load it anew: without no_new_privs that takes CAP_SYS_ADMIN. */
	if (s->new_privileges && s->filter == FILTER_FILE &&
		!(run->settings.flags & SETTINGS_NO_INIT))
		return fault_plain(-EINVAL,
			"--security-opt \"no-new-privileges=false\": together with seccomp=FILE the service "
			"must be PID 1 itself (add --init none, or use seccomp=default)");
	return 0;
}
