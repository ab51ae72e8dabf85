#include "monitor/probe.h"

#include <string.h>

enum input { IN_GOOD, IN_GOOD_ENOUGH, IN_BAD, IN_BAD_ENOUGH, INPUTS };

static const enum probe_standing table[PROBE_STANDINGS][INPUTS] = {
	[PROBE_STARTING] =
		{
			[IN_GOOD] = PROBE_STARTING,
			[IN_GOOD_ENOUGH] = PROBE_PASSING,
			[IN_BAD] = PROBE_STARTING,
			[IN_BAD_ENOUGH] = PROBE_FAILING,
		},
	[PROBE_PASSING] =
		{
			[IN_GOOD] = PROBE_PASSING,
			[IN_GOOD_ENOUGH] = PROBE_PASSING,
			[IN_BAD] = PROBE_PASSING,
			[IN_BAD_ENOUGH] = PROBE_FAILING,
		},
	[PROBE_FAILING] =
		{
			[IN_GOOD] = PROBE_FAILING,
			[IN_GOOD_ENOUGH] = PROBE_PASSING,
			[IN_BAD] = PROBE_FAILING,
			[IN_BAD_ENOUGH] = PROBE_FAILING,
		},
};

static void count(uint32_t *up, uint32_t *down)
{
	*up += *up < UINT32_MAX;
	*down = 0;
}

static bool forgiven(
	const struct probe_conf *conf, const struct probe_state *s, uint64_t since_start)
{
	return s->standing == PROBE_STARTING && since_start < conf->grace_usec;
}

static enum input input_of(
	const struct probe_conf *conf, struct probe_state *s, bool good, uint64_t since_start)
{
	if (good) {
		s->passed++;
		count(&s->good, &s->bad);
		return s->good >= conf->successes ? IN_GOOD_ENOUGH : IN_GOOD;
	}
	s->failed++;
	s->good = 0;
	if (forgiven(conf, s, since_start))
		return IN_BAD;
	count(&s->bad, &s->good);
	return s->bad >= conf->failures ? IN_BAD_ENOUGH : IN_BAD;
}

enum probe_change probe_result(
	const struct probe_conf *conf, struct probe_state *s, bool good, uint64_t since_start)
{
	uint32_t was = s->standing < PROBE_STANDINGS ? s->standing : PROBE_STARTING;

	s->standing = was;
	s->standing = table[was][input_of(conf, s, good, since_start)];
	if (s->standing == was)
		return PROBE_SAME;
	return s->standing == PROBE_PASSING ? PROBE_NOW_PASSING : PROBE_NOW_FAILING;
}

void probe_reset(const struct probe_conf *conf, struct probe_state *s, uint64_t now)
{
	*s = (struct probe_state){
		.passed = s->passed, .failed = s->failed, .next = now + conf->delay_usec};
}

bool probe_held_back(const struct health_conf *conf, const struct health_state *s, uint32_t i)
{
	if (conf->probes[i].kind == PROBE_STARTUP)
		return false;
	for (uint32_t k = 0; k < conf->count; k++)
		if (conf->probes[k].kind == PROBE_STARTUP && s->probes[k].standing != PROBE_PASSING)
			return true;
	return false;
}

bool probe_done(const struct probe_conf *conf, const struct probe_state *s)
{
	return conf->kind == PROBE_STARTUP && s->standing != PROBE_STARTING;
}

bool probe_restarts(const struct probe_conf *conf)
{
	return conf->kind == PROBE_STARTUP || conf->kind == PROBE_LIVENESS;
}

static bool judges(const struct probe_conf *conf)
{
	return conf->kind != PROBE_READINESS;
}

uint32_t probes_judging(const struct health_conf *conf)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < conf->count; i++)
		n += judges(&conf->probes[i]);
	return n;
}

enum health_verdict probe_verdict(const struct health_conf *conf, const struct health_state *s)
{
	enum health_verdict v = HEALTH_NONE;

	for (uint32_t i = 0; i < conf->count; i++) {
		if (!judges(&conf->probes[i]))
			continue;
		if (s->probes[i].standing == PROBE_FAILING)
			return HEALTH_UNHEALTHY;
		if (s->probes[i].standing == PROBE_STARTING)
			v = HEALTH_STARTING;
		else if (v == HEALTH_NONE)
			v = HEALTH_HEALTHY;
	}
	return v;
}

bool probe_ready(const struct health_conf *conf, const struct health_state *s)
{
	for (uint32_t i = 0; i < conf->count; i++)
		if ((conf->probes[i].kind == PROBE_READINESS ||
			    conf->probes[i].kind == PROBE_STARTUP) &&
			s->probes[i].standing != PROBE_PASSING)
			return false;
	return true;
}
