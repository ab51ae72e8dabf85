/* The restart policy with any configuration and any state: the state lies in memory that PID 1 of
 * the container can write. */
#include "tests/fuzz/fuzz.h"

#include "ipc/policy.h"

#define DECISIONS_MAX 600

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tape t = {data, size};
	struct policy_conf conf;
	struct policy_state state;
	uint8_t how = tape_byte(&t);

	policy_defaults(&conf);
	tape_into(&t, &conf, how & 1 ? sizeof(conf) : offsetof(struct policy_conf, delay_usec));
	if (how & 2)
		tape_into(&t, &state, sizeof(state));
	else
		policy_init(&state, tape_u64(&t));
	for (int i = 0; i < DECISIONS_MAX && t.left > 0; i++) {
		uint8_t flags = tape_byte(&t);
		struct policy_exit e = {
			.code = tape_byte(&t),
			.signal = flags & 1 ? tape_byte(&t) % 65 : 0,
			.oom = flags & 2,
			.healthy = flags & 4,
			.rebooted = flags & 8,
			.now_usec = flags & 16 ? tape_u64(&t) : tape_u32(&t),
		};
		uint32_t down = state.down;
		struct policy_verdict v = policy_decide(&conf, &state, &e);

		claim(v.action <= POLICY_START_FRESH);
		claim(v.reason <= POLICY_WHY_UNHEALTHY);
		claim(!down || e.rebooted || v.action == POLICY_STAY_DOWN);
		claim(v.action != POLICY_STAY_DOWN || v.delay_usec == 0);
		claim(conf.kind != RESTART_NO || v.action == POLICY_STAY_DOWN);
		if (!(how & 1))
			claim(v.delay_usec <= conf.max_delay_usec + conf.max_delay_usec / 2);
		if (!(how & 2))
			claim(state.times_len <= POLICY_BUDGET_MAX);
		if (flags & 32)
			policy_went_fresh(&state);
	}
	return 0;
}
