/* --rule's text: what is taken is printed whole and taken again as the same; and whatever the rule,
 * samples of any kind never ask for more than there is room for. */
#include "tests/fuzz/fuzz.h"

#include "monitor/rule_text.h"

static void climb(const struct rules *rules, const uint8_t *data, size_t size)
{
	struct rule_act acts[RULE_ACTS_MAX];
	struct rules_state state;
	struct sample in = {.run = 1};
	uint64_t now = 0;

	rules_state_init(&state);
	for (size_t i = 0; i + 4 <= size; i += 4) {
		unsigned len;

		now += (uint64_t)data[i] * data[i] * 1000;
		in.run += data[i + 1] == 255;
		in.has = data[i + 1] % 8 ? UINT64_MAX : 0;
		for (unsigned k = 0; k < INPUTS; k++)
			in.in[k] += (uint64_t)data[i + 2] * data[i + 3] * k;
		len = rules_step(rules, &state, &in, now, acts);
		claim(len <= RULE_ACTS_MAX);
		for (unsigned k = 0; k < len; k++) {
			claim(acts[k].rule < rules->len);
			claim(acts[k].did != RULE_STEP ||
				acts[k].step < rules->rule[acts[k].rule].steps_len);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[512], once[RULE_TEXT_MAX + 64];
	static struct rules rules;
	struct rule again;

	if (size >= sizeof(text))
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (rule_parse("rule", text, &rules.rule[0]) < 0)
		return 0;
	rules.len = 1;
	rule_print(&rules.rule[0], once, sizeof(once));
	claim(strlen(once) < RULE_TEXT_MAX);
	claim(rule_parse("rule", once, &again) == 0);
	claim(memcmp(&again, &rules.rule[0], sizeof(again)) == 0);
	climb(&rules, data, size);
	return 0;
}
