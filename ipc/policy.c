#include "ipc/policy.h"

#include <string.h>

void policy_defaults(struct policy_conf *conf)
{
	memset(conf, 0, sizeof(*conf));
	conf->kind = RESTART_NO;
	conf->mode = RESTART_AUTO;
	conf->oom = OOM_RESTART;
	conf->on_budget = BUDGET_STOP;
	conf->delay_usec = 100 * 1000;
	conf->max_delay_usec = 60ULL * 1000 * 1000;
	conf->factor_pct = 200;
	conf->jitter_pct = 10;
	conf->healthy_usec = 10ULL * 1000 * 1000;
	conf->in_place_max = 3;
	conf->success_codes[0] = 1;
}

void policy_init(struct policy_state *state, uint64_t seed)
{
	memset(state, 0, sizeof(*state));
	state->rng = seed ? seed : 0x9e3779b97f4a7c15ULL;
}

bool policy_success(const struct policy_conf *conf, const struct policy_exit *e)
{
	if (e->signal)
		return e->signal <= 64 && (conf->success_signals >> (e->signal - 1) & 1);
	if (e->code == 0)
		return true;
	return e->code < 256 && (conf->success_codes[e->code / 8] >> (e->code % 8) & 1);
}

static uint64_t clamp(uint64_t v, uint64_t lo, uint64_t hi)
{
	return v < lo ? lo : v > hi ? hi : v;
}

/* v * pct / 100 in pieces, so that no delay is too long for 64 bits; the result stops at max. */
static uint64_t share(uint64_t v, uint64_t pct, uint64_t max)
{
	uint64_t whole = v / 100, rest = v % 100 * pct / 100;

	if (pct && whole > (UINT64_MAX - rest) / pct)
		return max;
	whole = whole * pct + rest;
	return whole < max ? whole : max;
}

/* Marsaglia's xorshift64 (13, 7, 17). */
static uint64_t next_random(struct policy_state *state)
{
	uint64_t x = state->rng ? state->rng : 1;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return state->rng = x;
}

static uint64_t spread(const struct policy_conf *conf, struct policy_state *state, uint64_t delay)
{
	uint64_t reach = share(delay, clamp(conf->jitter_pct, 0, 50), UINT64_MAX / 4);
	uint64_t low = delay - reach;
	uint64_t off;

	if (reach == 0)
		return delay;
	off = next_random(state) % (2 * reach + 1);
	return off > UINT64_MAX - low ? UINT64_MAX : low + off;
}

/* streak restarts lie behind: none means at once, one means delay_usec, then it grows. */
static uint64_t grown_delay(const struct policy_conf *conf, uint32_t streak)
{
	uint64_t max = conf->max_delay_usec;
	uint64_t factor = clamp(conf->factor_pct, 100, 1000);
	uint64_t d = conf->delay_usec < max ? conf->delay_usec : max;

	if (streak == 0 || d == 0)
		return 0;
	for (uint32_t i = 1; i < streak && d < max; i++) {
		uint64_t longer = share(d, factor, max);

		if (longer == d)
			break; /* factor 100, or too small to grow: it never will */
		d = longer;
	}
	return d;
}

static bool budget_spent(
	const struct policy_conf *conf, const struct policy_state *state, uint64_t now)
{
	uint32_t n = (uint32_t)clamp(conf->budget_n, 0, POLICY_BUDGET_MAX);
	uint32_t len = (uint32_t)clamp(state->times_len, 0, POLICY_BUDGET_MAX);
	uint32_t recent = 0;

	if (n == 0)
		return false;
	/* A time in the future is from before a reboot: that window is over. */
	for (uint32_t i = 0; i < len; i++)
		recent +=
			state->times[i] <= now && now - state->times[i] < conf->budget_window_usec;
	return recent >= n;
}

static void note_restart(struct policy_state *state, uint64_t now)
{
	uint32_t at = state->times_next % POLICY_BUDGET_MAX;

	state->times[at] = now;
	state->times_next = (at + 1) % POLICY_BUDGET_MAX;
	if (state->times_len < POLICY_BUDGET_MAX)
		state->times_len++;
	state->restarts++;
	if (state->streak < UINT32_MAX)
		state->streak++;
}

static struct policy_verdict down(enum policy_reason why)
{
	return (struct policy_verdict){.action = POLICY_STAY_DOWN, .reason = why};
}

/* Where the next run takes place; counts the ones in place. */
static void choose_place(
	const struct policy_conf *conf, struct policy_state *state, struct policy_verdict *v)
{
	bool unhealthy = conf->mode == RESTART_AUTO && state->in_place >= conf->in_place_max;

	if (conf->mode == RESTART_FRESH || unhealthy) {
		v->action = POLICY_START_FRESH;
		if (unhealthy && v->reason == POLICY_WHY_RESTART)
			v->reason = POLICY_WHY_UNHEALTHY;
		policy_went_fresh(state);
		return;
	}
	v->action = POLICY_IN_PLACE;
	if (state->in_place < UINT32_MAX)
		state->in_place++;
}

static bool kind_restarts(const struct policy_conf *conf, const struct policy_exit *e)
{
	switch ((enum restart_kind)conf->kind) {
	case RESTART_ALWAYS:
	case RESTART_UNLESS_STOPPED:
		return true;
	case RESTART_ON_FAILURE:
		return !policy_success(conf, e);
	case RESTART_NO:
		break;
	}
	return false;
}

struct policy_verdict policy_decide(
	const struct policy_conf *conf, struct policy_state *state, const struct policy_exit *e)
{
	struct policy_verdict v = {.reason = POLICY_WHY_RESTART};
	bool spent;

	/* A stop lasts until the host comes up again for `always`, for good for all others. */
	if (state->down && e->rebooted && conf->kind == RESTART_ALWAYS)
		state->down = 0;
	if (state->down)
		return down(POLICY_WHY_STOPPED);
	if (e->oom && conf->oom == OOM_STOP)
		return down(POLICY_WHY_OOM_STOP);
	if (!kind_restarts(conf, e))
		return down(POLICY_WHY_KIND);

	if (e->healthy) {
		state->streak = 0;
		state->in_place = 0;
	}
	spent = budget_spent(conf, state, e->now_usec);
	state->exhausted = spent;
	if (spent && conf->on_budget == BUDGET_STOP)
		return down(POLICY_WHY_BUDGET);
	if (spent)
		v.reason = POLICY_WHY_BUDGET;
	v.delay_usec = spent ? conf->max_delay_usec : grown_delay(conf, state->streak);
	v.delay_usec = spread(conf, state, v.delay_usec);
	choose_place(conf, state, &v);
	note_restart(state, e->now_usec);
	return v;
}

void policy_went_fresh(struct policy_state *state)
{
	state->in_place = 0;
}
