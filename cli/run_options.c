#include "cli/run_options.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/opt_files.h"
#include "cli/opt_health.h"
#include "cli/opt_listen.h"
#include "cli/opt_logs.h"
#include "cli/opt_mounts.h"
#include "cli/opt_process.h"
#include "cli/opt_resources.h"
#include "cli/opt_rules.h"
#include "cli/options.h"
#include "cli/state.h"
#include "cli/term.h"
#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/mem.h"
#include "ipc/base/parse.h"
#include "ipc/base/sig.h"

#define STOP_GRACE_USEC (10 * USEC_PER_SEC)
#define USERNS_BASE	100000
#define USERNS_SIZE	65536

/* A word of a closed list -> its number. */
struct word {
	const char *text;
	unsigned value;
};

static int pick(const struct word *words, size_t n, const char *text, size_t len, unsigned *ret)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(words[i].text) == len && strncmp(words[i].text, text, len) == 0) {
			*ret = words[i].value;
			return 0;
		}
	return -EINVAL;
}

/* A number that ends before its text does. One that is too long is refused, never cut. */
static int number_part(const char *text, size_t len, uint64_t min, uint64_t max, uint64_t *ret)
{
	char part[24];

	if (len >= sizeof(part))
		return -EINVAL;
	memcpy(part, text, len);
	part[len] = '\0';
	return parse_u64("", part, min, max, ret);
}

static int set_network(void *ctx, const struct option *o, const char *value)
{
	static const struct word words[] = {{"none", NETWORK_NONE}, {"host", NETWORK_HOST}};
	struct run *run = ctx;
	unsigned v;

	if (pick(words, array_size(words), value, strlen(value), &v) < 0)
		return option_bad(o, value, "no such network (use host or none)");
	run->spec.network = (enum spec_network)v;
	return 0;
}

static int set_userns(void *ctx, const struct option *o, const char *value)
{
	struct spec *spec = &((struct run *)ctx)->spec;
	uint64_t base = USERNS_BASE, size = USERNS_SIZE;
	size_t len = strcspn(value, ":");

	if (strcmp(value, "auto") != 0) {
		if (!value[len] || number_part(value, len, 1, UINT32_MAX - 1, &base) < 0 ||
			parse_u64("", value + len + 1, 1, UINT32_MAX - 1, &size) < 0 ||
			base + size > UINT32_MAX)
			return option_bad(
				o, value, "use auto, or FIRST_HOST_ID:COUNT such as 100000:65536");
	}
	spec->userns = true;
	spec->userns_base = (uint32_t)base;
	spec->userns_size = (uint32_t)size;
	return 0;
}

static void budget_set(struct policy_conf *p, uint64_t n, uint64_t window, unsigned on_budget)
{
	p->budget_n = (uint32_t)n;
	p->budget_window_usec = window;
	p->on_budget = on_budget;
}

/* on-failure:N is N restarts, whenever they happen: a budget over a window that outlives the host.
 */
static int set_restart(void *ctx, const struct option *o, const char *value)
{
	static const struct word words[] = {
		{"no", RESTART_NO},
		{"on-failure", RESTART_ON_FAILURE},
		{"always", RESTART_ALWAYS},
		{"unless-stopped", RESTART_UNLESS_STOPPED},
	};
	struct run *run = ctx;
	struct policy_conf *p = &run->settings.policy;
	size_t len = strcspn(value, ":");
	uint64_t n;

	if (pick(words, array_size(words), value, len, &p->kind) < 0 ||
		(value[len] && p->kind != RESTART_ON_FAILURE))
		return option_bad(
			o, value, "use no, on-failure, on-failure:N, always or unless-stopped");
	if (run->retries) /* the budget of an on-failure:N before this one goes with it */
		budget_set(p, 0, 0, BUDGET_STOP);
	run->restart = true;
	run->retries = value[len] != '\0';
	if (!run->retries)
		return 0;
	if (parse_u64("", value + len + 1, 1, POLICY_BUDGET_MAX, &n) < 0)
		return option_bad(o, value, "N is a number from 1 to 256");
	budget_set(p, n, POLICY_RETRIES_WINDOW, BUDGET_STOP);
	return 0;
}

/* Remembers an option that says how to restart: it needs one that says when. */
static struct policy_conf *knob(void *ctx, const struct option *o)
{
	struct run *run = ctx;

	run->knob = o->name;
	return &run->settings.policy;
}

static int set_delay(void *ctx, const struct option *o, const char *value)
{
	struct run *run = ctx;
	bool max = o->at == offsetof(struct run, settings.policy.max_delay_usec);

	knob(ctx, o);
	*(max ? &run->max_delay : &run->delay) = value;
	return option_duration(ctx, o, value);
}

/* Whoever gives one of the two has not asked for the other's default. */
static int delays_fit(struct run *run)
{
	struct policy_conf *p = &run->settings.policy;

	if (p->delay_usec <= p->max_delay_usec)
		return 0;
	if (run->delay && run->max_delay)
		return fault_plain(-EINVAL,
			"--restart-delay \"%s\": above --restart-max-delay \"%s\" (leave one of them out, or swap them)",
			run->delay, run->max_delay);
	if (run->delay)
		p->max_delay_usec = p->delay_usec;
	else
		p->delay_usec = p->max_delay_usec;
	return 0;
}

static int set_mode(void *ctx, const struct option *o, const char *value)
{
	static const struct word words[] = {
		{"auto", RESTART_AUTO}, {"in-place", RESTART_IN_PLACE}, {"fresh", RESTART_FRESH}};

	if (pick(words, array_size(words), value, strlen(value), &knob(ctx, o)->mode) < 0)
		return option_bad(o, value, "use auto, in-place or fresh");
	return 0;
}

static int set_oom(void *ctx, const struct option *o, const char *value)
{
	static const struct word words[] = {
		{"continue", OOM_CONTINUE}, {"stop", OOM_STOP}, {"restart", OOM_RESTART}};

	struct run *run = ctx;

	if (pick(words, array_size(words), value, strlen(value), &run->settings.policy.oom) < 0)
		return option_bad(o, value, "use continue, stop or restart");
	run->oom = value;
	return 0;
}

/* One exit code or signal name of a list. */
static int success_add(struct policy_conf *p, const char *item)
{
	uint64_t code;
	int signo;

	if (*item >= '0' && *item <= '9') {
		if (parse_u64("", item, 0, 255, &code) < 0)
			return -EINVAL;
		p->success_codes[code / 8] |= (uint8_t)(1u << code % 8);
		return 0;
	}
	signo = sig_parse(item);
	if (signo < 1 || signo > 64)
		return -EINVAL;
	p->success_signals |= 1ULL << (signo - 1);
	return 0;
}

static int set_success(void *ctx, const struct option *o, const char *value)
{
	auto_free char *copy = strdup(value);
	char *rest = copy, *item;

	while ((item = strsep(&rest, ", ")))
		if (*item && success_add(&((struct run *)ctx)->settings.policy, item) < 0)
			return option_bad(
				o, value, "use exit codes 0 to 255 and signal names: 3,SIGTERM");
	return copy ? 0 : fault(-ENOMEM, "--success-exit-status");
}

static int set_factor(void *ctx, const struct option *o, const char *value)
{
	uint64_t thousandths;

	if (parse_cpus("", value, &thousandths) < 0 || thousandths < 1000 || thousandths > 10000)
		return option_bad(o, value, "not a factor from 1 to 10 (use 2, or 1.5)");
	knob(ctx, o)->factor_pct = (uint32_t)(thousandths / 10);
	return 0;
}

static int set_jitter(void *ctx, const struct option *o, const char *value)
{
	size_t len = strlen(value);
	uint64_t pct;

	if (len && value[len - 1] == '%')
		len--;
	if (number_part(value, len, 0, 50, &pct) < 0)
		return option_bad(o, value, "not a share from 0% to 50%");
	knob(ctx, o)->jitter_pct = (uint32_t)pct;
	return 0;
}

/* N/T[:stop|slow] */
static int set_budget(void *ctx, const struct option *o, const char *value)
{
	static const struct word words[] = {{"stop", BUDGET_STOP}, {"slow", BUDGET_SLOW}};
	size_t n_len = strcspn(value, "/"), t_len = strcspn(value, ":");
	unsigned on_budget = BUDGET_STOP;
	uint64_t n, usec = 0;
	char window[32] = "";

	if (value[n_len] && t_len > n_len && t_len - n_len <= sizeof(window))
		snprintf(window, sizeof(window), "%.*s", (int)(t_len - n_len - 1),
			value + n_len + 1);
	if (number_part(value, n_len, 1, POLICY_BUDGET_MAX, &n) < 0 ||
		parse_duration("", window, &usec) < 0 || usec == 0 ||
		(value[t_len] && pick(words, array_size(words), value + t_len + 1,
					 strlen(value + t_len + 1), &on_budget) < 0))
		return option_bad(o, value,
			"use N/TIME or N/TIME:slow with N from 1 to 256: 5/10m, 20/1h:slow");
	budget_set(knob(ctx, o), n, usec, on_budget);
	((struct run *)ctx)->retries = false;
	return 0;
}

static int set_init(void *ctx, const struct option *o, const char *value)
{
	struct run *run = ctx;

	if (strcmp(value, "none") != 0 && strcmp(value, "holdfast") != 0)
		return option_bad(o, value, "use holdfast or none");
	run->settings.flags &= ~(uint32_t)SETTINGS_NO_INIT;
	if (strcmp(value, "none") == 0)
		run->settings.flags |= SETTINGS_NO_INIT;
	return 0;
}

static int set_path(void *ctx, const struct option *o, const char *value)
{
	if (!opt_path_ok(value))
		return option_bad(o, value, "not an absolute path without ..");
	return option_text(ctx, o, value);
}

static int set_cgroup(void *ctx, const struct option *o, const char *value)
{
	if (!spec_cgroup_ok(value))
		return option_bad(o, value,
			"use an absolute path of at most 255 bytes, below /, without .. in it");
	return option_text(ctx, o, value);
}

#define AT(member) offsetof(struct run, member)

static const struct option rows[] = {
	{"name", 0, "NAME", "id of the container (random if absent)", option_text, AT(name)},
	{"detach", 'd', NULL, "print the id and leave it running", option_flag, AT(detach)},
	{"interactive", 'i', NULL, "pass standard input on", option_flag, AT(interactive)},
	{"tty", 't', NULL, "give it a terminal", option_flag, AT(tty)},
	{"rm", 0, NULL, "remove it when it has ended", option_flag, AT(remove)},
	{"bundle", 0, "DIR", "OCI bundle; other options override it", option_text, AT(spec.bundle)},
	{"rootfs", 0, "DIR", "root directory (default: the host's, writes vanish)", option_text,
		AT(spec.rootfs)},
	{"env", 'e', "NAME[=VALUE]", "environment variable; NAME alone passes yours on", opt_env,
		0},
	{"workdir", 'w', "DIR", "working directory", set_path, AT(spec.workdir)},
	{"user", 'u', "USER[:GROUP]", "numbers, or names known in the container", option_text,
		AT(spec.user)},
	{"hostname", 'h', "NAME", "host name (default: the id)", opt_hostname, 0},
	{"memory", 'm', "SIZE", "memory limit: 512M, 2G", opt_memory, AT(spec.memory)},
	{"cpus", 0, "NUMBER", "CPU limit: 0.5, 2", option_cpus, AT(spec.cpus)},
	{"pids-limit", 0, "N", "most processes (4096; 0: no limit)", opt_pids, 0},
	{"volume", 'v', "SRC:DST[:ro]", "show a host path inside", opt_volume, 0},
	{"tmpfs", 0, "DST[:OPTIONS]", "empty memory file system: /run:size=16m", opt_tmpfs, 0},
	{"read-only", 0, NULL, "root file system can't be written", option_flag,
		AT(spec.read_only)},
	{"cap-add", 0, "NAME", "add a capability, or ALL", opt_cap, AT(spec.cap_add)},
	{"cap-drop", 0, "NAME", "drop a capability, or ALL", opt_cap, AT(spec.cap_drop)},
	{"network", 0, "host|none", "default none", set_network, 0},
	{"listen", 0, "[NAME=]ADDR", "socket that stays open over restarts: 80, unix:/run/x.sock",
		opt_listen, 0},
	{"notify", 0, NULL, "the service says when it is ready (READY=1)", opt_notify, 0},
	{"userns", 0, "auto|ID:COUNT", "own user ids; auto is 100000:65536", set_userns, 0},
	{"restart", 0, "POLICY", "no, on-failure[:N], always, unless-stopped", set_restart, 0},
	{"restart-mode", 0, "MODE", "auto, in-place, fresh (new sandbox)", set_mode, 0},
	{"restart-delay", 0, "TIME", "before the second restart in a row (100ms)", set_delay,
		AT(settings.policy.delay_usec)},
	{"restart-max-delay", 0, "TIME", "largest delay (60s)", set_delay,
		AT(settings.policy.max_delay_usec)},
	{"restart-factor", 0, "NUMBER", "growth of the delay (2)", set_factor, 0},
	{"restart-jitter", 0, "PERCENT", "spread of the delay (10%)", set_jitter, 0},
	{"restart-budget", 0, "N/TIME[:slow]", "restarts in TIME, then stop (or go slow)",
		set_budget, 0},
	{"healthy-after", 0, "TIME", "alive this long, the delay starts over (10s)",
		opt_healthy_after, AT(settings.policy.healthy_usec)},
	{"success-exit-status", 0, "LIST", "codes and signals that are no failure: 3,TERM",
		set_success, 0},
	{"oom-policy", 0, "POLICY", "on an OOM kill: continue, stop, restart", set_oom, 0},
	{"stop-signal", 0, "SIGNAL", "what asks it to end (TERM)", option_signal,
		AT(settings.stop_signal)},
	{"stop-timeout", 0, "TIME", "then everything is killed (10s)", option_duration,
		AT(settings.stop_grace_usec)},
	{"init", 0, "holdfast|none", "none: the command is PID 1", set_init, 0},
	{"cgroup", 0, "PATH", "below each hierarchy (/holdfast/local/ID)", set_cgroup, AT(cgroup)},

	{"detach-keys", 0, "KEYS", "leave a terminal (ctrl-p,ctrl-q)", option_keys,
		AT(detach_keys)},

	/* mounts (cli/opt_mounts.c) */
	{"mount", 0, "WORDS", "type=bind|tmpfs,source=PATH,target=PATH,...", opt_mount, 0},

	/* names (cli/opt_files.c) */
	{"pidfile", 0, "FILE", "the host's pid of PID 1, while there is one", opt_pidfile, 0},
	{"add-host", 0, "NAME:IP", "a line of /etc/hosts", opt_add_host, 0},
	{"dns", 0, "IP", "a name server of /etc/resolv.conf", opt_dns, 0},
	{"dns-search", 0, "DOMAIN", "looked through for names (.: none)", opt_dns_search, 0},
	{"dns-option", 0, "WORD", "an option of resolv.conf(5): ndots:2", opt_dns_option, 0},

	/* output (cli/opt_logs.c) */
	{"log-dir", 0, "DIR", "below it, instead of /var/log/holdfast", opt_log_dir, 0},
	{"log-max-size", 0, "SIZE", "of one file of the output kept (16m)", opt_log_max_size, 0},
	{"log-max-files", 0, "N", "files kept of each stream (4)", opt_log_max_files, 0},
	{"merge-output", 0, NULL, "stdout and stderr as one stream", opt_merge_output, 0},
	{"log-full", 0, "drop|block", "disk full: lose output, or wait (drop)", opt_log_full, 0},

	{"print-spec", 0, NULL, "print config.json, make nothing", option_flag, AT(spec.print)},
	{"host-files", 0, "all|masked", "host's root: mask nothing, or its secrets (masked)",
		opt_host_files, 0},

	/* health (cli/opt_health.c) */
	{"probe", 0, "KIND=TARGET[,...]", "liveness=http://127.0.0.1:80/,period=10s", opt_probe, 0},
	{"health-cmd", 0, "COMMAND", "docker's health check, by /bin/sh", opt_health_cmd, 0},
	{"health-interval", 0, "TIME", "between two of them (30s)", opt_health_time,
		AT(docker.period_usec)},
	{"health-timeout", 0, "TIME", "then it has failed (30s)", opt_health_time,
		AT(docker.timeout_usec)},
	{"health-retries", 0, "N", "failures in a row: unhealthy (3)", opt_health_retries, 0},
	{"health-start-period", 0, "TIME", "till then failures do not count (0s)", opt_health_time,
		AT(docker.grace_usec)},
	{"watchdog", 0, "TIME", "restart it when it does not say WATCHDOG=1 for so long",
		opt_watchdog, 0},
	{"start-timeout", 0, "TIME", "to be ready, or the run has failed", opt_start_timeout, 0},
	{"pressure-watch", 0, "auto|on|off", "tell it of pressure (auto: if a rule does)",
		opt_pressure_watch, 0},

	/* resources (cli/opt_resources.c) */
	{"memory-high", 0, "SIZE", "above it, reclaim and slow down (cgroup v2)", opt_size,
		AT(spec.resources.memory_high)},
	{"memory-swap", 0, "SIZE|-1", "memory and swap together (as --memory: no swap)",
		opt_memory_swap, AT(spec.resources.memory_swap)},
	{"memory-reservation", 0, "SIZE", "reclaim from others first below it", opt_size,
		AT(spec.resources.memory_reservation)},
	{"cpu-weight", 0, "N|idle", "share of busy CPUs, 1 to 10000 (100)", opt_cpu_weight, 0},
	{"cpuset-cpus", 0, "LIST", "only these CPUs: 0-3,7", opt_cpuset_cpus, 0},
	{"cpuset-mems", 0, "LIST", "only these memory nodes", opt_cpuset_mems, 0},
	{"io-weight", 0, "N", "share of busy disks, 1 to 10000 (100)", opt_weight,
		AT(spec.resources.io_weight)},
	{"device", 0, "HOST[:PATH][:rwm]", "show a device, or a directory of them", opt_device, 0},
	{"shm-size", 0, "SIZE", "size of /dev/shm (64m)", opt_size, AT(spec.resources.shm_size)},

	/* the process (cli/opt_process.c) */
	{"env-file", 0, "FILE", "lines NAME=VALUE or NAME; # comments", opt_env_file, 0},
	{"label", 'l', "KEY[=VALUE]", "a note for ps --filter and for you", opt_label, 0},
	{"sysctl", 0, "KEY=VALUE", "a kernel parameter of its namespaces", opt_sysctl, 0},
	{"ulimit", 0, "NAME=SOFT[:HARD]", "resource limit: nofile=1024:4096", opt_ulimit, 0},
	{"oom-score-adj", 0, "N", "whom the OOM killer takes, -1000 to 1000 (0)", opt_oom_score, 0},
	/* the monitor (cli/opt_rules.c) */
	{"rule", 0, "RULE", "NAME: SIGNAL > VALUE [for TIME]: ACTION[, TIME, ACTION]...", opt_rule,
		0},
	{"preset", 0, "NAME", "a set of rules: web, database, batch", opt_preset, 0},
	{"print-rules", 0, NULL, "print all rules in full, make nothing", option_flag,
		AT(print_rules)},
	{"security-opt", 0, "WORD[=VALUE]", "no-new-privileges, seccomp, systempaths, ...",
		opt_security, 0},
};

static const struct option_table create_table = {
	.usage = "holdfast create [options] [--bundle DIR | --rootfs DIR] [--] COMMAND [ARG...]",
	.about = "Makes a container as run does, and leaves it to `holdfast start`.",
	.rows = rows,
	.len = array_size(rows),
};

static const struct option_table run_table = {
	.usage = "holdfast run [options] [--bundle DIR | --rootfs DIR] [--] COMMAND [ARG...]",
	.about = "Starts a container and keeps its service alive.",
	.rows = rows,
	.len = array_size(rows),
};

static void settings_defaults(struct settings *s)
{
	memset(s, 0, sizeof(*s));
	policy_defaults(&s->policy);
	snprintf(s->realm, sizeof(s->realm), "%s", REALM);
	s->flags = SETTINGS_DEFAULT_SECCOMP;
	s->stop_signal = SIGTERM;
	s->stop_grace_usec = STOP_GRACE_USEC;
	s->log_full = LOG_FULL_DROP;
	s->log_max_files = LOG_FILES;
	s->log_max_bytes = LOG_BYTES;
}

/* Absolute, and really there. */
static int path_resolve(const char *option, const char **path)
{
	auto_free char *full = NULL;
	struct stat st;

	if (!*path)
		return 0;
	full = realpath(*path, NULL);
	if (!full || stat(full, &st) < 0)
		return fault(-errno, "%s \"%.200s\"", option, *path);
	if (!S_ISDIR(st.st_mode))
		return fault_plain(-ENOTDIR, "%s \"%.200s\": not a directory", option, *path);
	*path = take(full); /* lives as long as the program */
	return 0;
}

static int usage(const char *text)
{
	return fault_plain(-EINVAL, "%s", text);
}

/* What makes no sense together. */
static int combination_check(const struct run *run)
{
	const struct settings *s = &run->settings;

	if (run->print_rules)
		return 0; /* nothing is made, so nothing can be missing */
	if (run->spec.bundle && run->spec.rootfs)
		return usage(
			"--bundle and --rootfs exclude each other (the bundle names its own root)");
	if (!run->spec.argv[0] && !run->spec.bundle)
		return usage("no command (write it after the options: holdfast run -- COMMAND)");
	if (run->create && (run->detach || run->spec.print || run->detach_keys))
		return fault_plain(-EINVAL, "--%s: create starts and prints nothing (leave it out)",
			run->detach	  ? "detach"
			: run->spec.print ? "print-spec"
					  : "detach-keys");
	if (run->tty && run->interactive && !run->detach && !run->create && !run->spec.print &&
		!isatty(STDIN_FILENO))
		return usage("-t with -i: standard input is not a terminal (leave -t out)");
	if ((s->flags & SETTINGS_NO_INIT) && s->policy.mode == RESTART_IN_PLACE)
		return usage(
			"--restart-mode \"in-place\" needs an init (leave --init none out, or use fresh)");
	if ((s->flags & SETTINGS_NO_INIT) && run->oom && s->policy.oom != OOM_RESTART)
		return fault_plain(-EINVAL,
			"--oom-policy \"%s\" needs an init (leave --init none out, or use restart)",
			run->oom);
	if (run->knob && !run->restart)
		return fault_plain(-EINVAL,
			"--%s: no policy says when to restart (add --restart always, or another; --restart no if only `holdfast restart` shall use it)",
			run->knob);
	if ((s->flags & SETTINGS_HOST_FILES) && (run->spec.bundle || run->spec.rootfs))
		return usage(
			"--host-files is about the host's root (leave --bundle and --rootfs out)");
	if (opt_resources_check(run) < 0 || opt_process_check(run) < 0 || opt_health_check(run) < 0)
		return -EINVAL;
	return run->name ? id_check(run->name) : 0;
}

static void settings_fill(struct run *run)
{
	struct settings *s = &run->settings;

	struct winsize_req size;

	run->spec.tty = run->tty;
	if (run->tty && (term_size(STDOUT_FILENO, &size) || term_size(STDIN_FILENO, &size))) {
		run->spec.rows = size.rows; /* so that its first look is right */
		run->spec.cols = size.cols;
	}
	s->flags |= run->tty ? SETTINGS_TTY : 0;
	s->flags |= run->interactive ? SETTINGS_STDIN : 0;
	s->flags |= run->remove ? SETTINGS_AUTO_REMOVE : 0;
	s->flags |= run->spec.userns ? SETTINGS_ROOTFS_IDMAP : 0;
	s->flags |= !run->spec.bundle && !run->spec.rootfs ? SETTINGS_HOST_ROOT : 0;
	if (run->cgroup)
		snprintf(s->cgroup, sizeof(s->cgroup), "%s", run->cgroup);
	if (run->spec.bundle)
		snprintf(s->bundle, sizeof(s->bundle), "%s", run->spec.bundle);
}

static bool notifies(const struct run *run)
{
	for (unsigned i = 0; i < run->rules.len; i++)
		for (unsigned k = 0; k < run->rules.rule[i].steps_len; k++)
			if (run->rules.rule[i].steps[k].action == ACTION_NOTIFY)
				return true;
	return false;
}

int run_parse(struct run *run, int argc, char **argv)
{
	bool create = run->create;
	int first, r;

	memset(run, 0, sizeof(*run));
	run->create = create;
	settings_defaults(&run->settings);
	probe_defaults(&run->docker, PROBE_HEALTH);
	r = options_parse(create ? &create_table : &run_table, run, argc, argv, &first);
	if (r < 0)
		return r;
	if (r == OPTIONS_HELP)
		return RUN_HELP;
	run->spec.argv = argv + first;
	r = combination_check(run);
	if (r == 0)
		r = delays_fit(run);
	if (r == 0)
		r = path_resolve("--bundle", &run->spec.bundle);
	if (r == 0)
		r = path_resolve("--rootfs", &run->spec.rootfs);
	if (r < 0)
		return r;
	if (run->spec.bundle && strlen(run->spec.bundle) >= sizeof(run->settings.bundle))
		return usage("--bundle: longer than 511 bytes");
	settings_fill(run);
	r = opt_health_fill(run, notifies(run));
	return r < 0 ? r : RUN_OK;
}

bool run_degrade(struct run *run, const struct cghier *h)
{
	if (run->spec.pids_set || run->spec.bundle || h->at[CG_PIDS].root[0])
		return false;
	run->spec.pids_set = true;
	run->spec.pids = 0;
	return true;
}

void run_finish(struct run *run)
{
	free((void *)(uintptr_t)run->spec.bundle);
	free((void *)(uintptr_t)run->spec.rootfs);
	files_finish(&run->files);
	spec_finish(&run->spec);
}
