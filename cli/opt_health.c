#include "cli/opt_health.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/run_options.h"
#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/mem.h"
#include "ipc/base/parse.h"

#define WATCHDOG_MIN  (10 * USEC_PER_MSEC)
#define NEVER_BY_TIME (366ULL * 24 * 3600 * USEC_PER_SEC)

/* "some 200000 2000000" and a NUL: systemd's default threshold, as its services expect it. */
#define PRESSURE_WRITE "c29tZSAyMDAwMDAgMjAwMDAwMAA="

static struct health_conf *conf_of(void *ctx)
{
	return &((struct run *)ctx)->health;
}

static int add(struct run *run, const struct option *o, const char *value, struct probe_conf *p)
{
	struct health_conf *conf = &run->health;

	if (conf->count == PROBES_MAX)
		return option_bad(o, value, "more than 8 probes (leave some out)");
	conf->probes[conf->count++] = *p;
	return 0;
}

int opt_probe(void *ctx, const struct option *o, const char *value)
{
	struct probe_conf p;
	struct run *run = ctx;
	int r = probe_parse(option_shown(o), value, &p);

	if (r < 0)
		return r;
	if (p.kind == PROBE_LIVENESS || p.kind == PROBE_STARTUP)
		run->restarting_probe = value;
	return add(run, o, value, &p);
}

/* As docker runs it: by a shell. */
int opt_health_cmd(void *ctx, const struct option *o, const char *value)
{
	static const char shell[] = "/bin/sh\0-c"; /* with its last NUL: two words */
	struct probe_conf *p = &((struct run *)ctx)->docker;

	if (!*value || strlen(value) + sizeof(shell) >= PROBE_WORDS)
		return option_bad(o, value, "a command of 1 to 500 bytes");
	p->how = PROBE_EXEC;
	p->words = 3;
	memcpy(p->text, shell, sizeof(shell));
	snprintf(p->text + sizeof(shell), PROBE_WORDS - sizeof(shell), "%s", value);
	return 0;
}

int opt_health_time(void *ctx, const struct option *o, const char *value)
{
	((struct run *)ctx)->docker_knob = o->name;
	return option_duration(ctx, o, value);
}

int opt_health_retries(void *ctx, const struct option *o, const char *value)
{
	struct run *run = ctx;
	uint64_t n;

	run->docker_knob = o->name;
	if (parse_u64("", value, 1, 1000000, &n) < 0)
		return option_bad(o, value, "not a number of failures (use 3)");
	run->docker.failures = (uint32_t)n;
	return 0;
}

int opt_watchdog(void *ctx, const struct option *o, const char *value)
{
	struct health_conf *conf = conf_of(ctx);

	if (parse_duration(option_shown(o), value, &conf->watchdog_usec) < 0)
		return -EINVAL;
	if (conf->watchdog_usec < WATCHDOG_MIN)
		return option_bad(o, value, "shorter than 10ms (use 30s)");
	return 0;
}

int opt_start_timeout(void *ctx, const struct option *o, const char *value)
{
	struct health_conf *conf = conf_of(ctx);

	if (parse_duration(option_shown(o), value, &conf->start_usec) < 0)
		return -EINVAL;
	return conf->start_usec ? 0 : option_bad(o, value, "no time at all (use 90s)");
}

int opt_pressure_watch(void *ctx, const struct option *o, const char *value)
{
	static const char *const words[] = {
		[WATCH_AUTO] = "auto", [WATCH_ON] = "on", [WATCH_OFF] = "off"};
	struct run *run = ctx;

	for (size_t i = 0; i < array_size(words); i++)
		if (strcmp(words[i], value) == 0) {
			run->pressure_watch = (enum pressure_watch)i;
			return 0;
		}
	return option_bad(o, value, "use auto, on or off");
}

int opt_healthy_after(void *ctx, const struct option *o, const char *value)
{
	((struct run *)ctx)->healthy_given = true;
	return option_duration(ctx, o, value);
}

static bool has_kind(const struct run *run, enum probe_kind kind)
{
	for (uint32_t i = 0; i < run->health.count; i++)
		if (run->health.probes[i].kind == (uint32_t)kind)
			return true;
	return false;
}

static bool has_exec(const struct run *run)
{
	for (uint32_t i = 0; i < run->health.count; i++)
		if (run->health.probes[i].how == PROBE_EXEC)
			return true;
	return run->docker.words > 0;
}

static bool gates(const struct run *run)
{
	return has_kind(run, PROBE_STARTUP) || has_kind(run, PROBE_READINESS);
}

int opt_health_check(const struct run *run)
{
	if (run->docker_knob && !run->docker.words)
		return fault_plain(-EINVAL, "--%s: there is nothing to run (add --health-cmd)",
			run->docker_knob);
	if (run->docker.words && run->health.count == PROBES_MAX)
		return fault_plain(-EINVAL, "--health-cmd: more than 8 probes (leave some out)");
	if (run->docker.words && probe_check("--health-cmd", run->docker.text, &run->docker) < 0)
		return -EINVAL;
	if ((run->settings.flags & SETTINGS_NO_INIT) && has_exec(run))
		return fault_plain(-EINVAL,
			"%s needs an init (leave --init none out, or probe by %s)",
			run->docker.words ? "--health-cmd" : "--probe with exec:",
			"tcp, http or a unix socket");
	if (run->restarting_probe && !run->restart)
		return fault_plain(-EINVAL,
			"--probe \"%.200s\": no policy says that it restarts when this fails (add --restart on-failure, or another; --restart no if it shall end then)",
			run->restarting_probe);
	if (run->health.start_usec && !run->notify && !gates(run))
		return fault_plain(-EINVAL,
			"--start-timeout: nothing says when it is ready (add --notify, or a startup or readiness probe)");
	return 0;
}

static int give_pressure(struct run *run)
{
	static const char *const variables[] = {
		"MEMORY_PRESSURE_WATCH=" PRESSURE_SOCKET("memory"),
		"MEMORY_PRESSURE_WRITE=" PRESSURE_WRITE,
		"CPU_PRESSURE_WATCH=" PRESSURE_SOCKET("cpu"),
		"CPU_PRESSURE_WRITE=" PRESSURE_WRITE,
		"IO_PRESSURE_WATCH=" PRESSURE_SOCKET("io"),
		"IO_PRESSURE_WRITE=" PRESSURE_WRITE,
	};
	int r = 0;

	run->settings.flags |= SETTINGS_PRESSURE;
	for (size_t i = 0; r == 0 && i < array_size(variables); i++)
		r = spec_env_add(&run->spec, variables[i]);
	return r;
}

static int give_watchdog(struct run *run)
{
	char text[64];
	int r = run->notify ? 0 : spec_env_add(&run->spec, "NOTIFY_SOCKET=" NOTIFY_SOCKET);

	run->settings.flags |= SETTINGS_NOTIFY_SOCKET;
	snprintf(text, sizeof(text), "WATCHDOG_USEC=%" PRIu64, run->health.watchdog_usec);
	return r == 0 ? spec_env_add(&run->spec, text) : r;
}

int opt_health_fill(struct run *run, bool notifies)
{
	struct health_conf *conf = &run->health;
	bool watch =
		run->pressure_watch == WATCH_ON || (run->pressure_watch == WATCH_AUTO && notifies);
	int r = 0;

	if (run->docker.words)
		conf->probes[conf->count++] = run->docker;
	if (conf->count || conf->watchdog_usec || conf->start_usec)
		run->settings.flags |= SETTINGS_HEALTH;
	/* where a probe says when a run is healthy, its age says nothing */
	if (gates(run) && !run->healthy_given)
		run->settings.policy.healthy_usec = NEVER_BY_TIME;
	if (conf->watchdog_usec)
		r = give_watchdog(run);
	return r == 0 && watch ? give_pressure(run) : r;
}
