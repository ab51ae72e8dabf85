/* A probe's results, one by one, into where it stands: a table of standing x input. Pure. */
#pragma once

#include "ipc/health.h"

enum probe_change {
	PROBE_SAME,
	PROBE_NOW_PASSING,
	PROBE_NOW_FAILING,
};

/* since_start: usec of the run when the result came. Counts it and moves the standing on. */
enum probe_change probe_result(
	const struct probe_conf *conf, struct probe_state *s, bool good, uint64_t since_start);

/* A new run: nothing is known but the totals. */
void probe_reset(const struct probe_conf *conf, struct probe_state *s, uint64_t now);

/* Startup has not passed: all others wait. */
bool probe_held_back(const struct health_conf *conf, const struct health_state *s, uint32_t i);
/* A startup probe that has passed is done. */
bool probe_done(const struct probe_conf *conf, const struct probe_state *s);
/* Failing ends the run. */
bool probe_restarts(const struct probe_conf *conf);

enum health_verdict probe_verdict(const struct health_conf *conf, const struct health_state *s);
/* How many of them it is made of. */
uint32_t probes_judging(const struct health_conf *conf);
/* Startup and readiness have passed, or there are none. */
bool probe_ready(const struct health_conf *conf, const struct health_state *s);
