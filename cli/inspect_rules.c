#include "cli/inspect_rules.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/inspect_line.h"
#include "cli/json.h"
#include "cli/when.h"
#include "ipc/base/mem.h"
#include "ipc/event_msg.h"
#include "ipc/journal_reader.h"
#include "monitor/rule_text.h"

static struct rule_past *past_of(struct rules_past *p, const char *name)
{
	for (unsigned i = 0; i < p->rules.len; i++)
		if (strcmp(p->rules.rule[i].name, name) == 0)
			return &p->of[i];
	return NULL;
}

static void take_record(struct rules_past *p, const struct record *r)
{
	const Holdfast__V1__RuleAct *act;
	static struct event_msg e;
	struct rule_past *past;

	if (r->type < RECORD_RULE_FIRED || r->type > RECORD_RULE_CLEARED)
		return;
	event_from_record(&e, r);
	act = e.event.rule;
	past = past_of(p, act->rule);
	if (!past)
		return;
	past->fired += r->type == RECORD_RULE_FIRED;
	past->cleared += r->type == RECORD_RULE_CLEARED;
	past->real_usec = r->real_usec;
	if (r->type == RECORD_RULE_FIRED)
		snprintf(past->did, sizeof(past->did), "fired: %s", act->why);
	else if (r->type == RECORD_RULE_CLEARED)
		snprintf(past->did, sizeof(past->did), "is over: %s", act->why);
	else
		snprintf(past->did, sizeof(past->did), "%s%s%s: %s", act->action,
			*act->result ? ": " : "", act->result, act->why);
}

int rules_past_read(int state_dirfd, struct rules_past *ret)
{
	struct journal_reader reader;
	const struct record *record;
	uint64_t missed;
	int r;

	memset(ret, 0, sizeof(*ret));
	r = rules_read(state_dirfd, &ret->rules);
	if (r <= 0)
		return r;
	r = journal_reader_open(&reader, state_dirfd, 0);
	if (r < 0)
		return r == -ENOENT ? 0 : r; /* it was never started */
	while ((r = journal_reader_next(&reader, &record, &missed)) > 0)
		if (r == JOURNAL_RECORD)
			take_record(ret, record);
	journal_reader_finish(&reader);
	return r;
}

void rules_past_text(const struct rules_past *p)
{
	char text[RULE_TEXT_MAX + 64], when[WHEN_TEXT];

	for (unsigned i = 0; i < p->rules.len; i++) {
		const struct rule_past *past = &p->of[i];

		rule_print(&p->rules.rule[i], text, sizeof(text));
		inspect_line(i ? "" : "rules", "%s", text);
		if (!past->real_usec)
			continue;
		when_text(when, past->real_usec);
		inspect_line("", "  fired %u times; %s %s", past->fired, when, past->did);
	}
}

void rules_past_json(const struct rules_past *p)
{
	char text[RULE_TEXT_MAX + 64];

	putchar('[');
	for (unsigned i = 0; i < p->rules.len; i++) {
		const struct rule_past *past = &p->of[i];
		bool first = true;

		rule_print(&p->rules.rule[i], text, sizeof(text));
		fputs(i ? ", {" : "{", stdout);
		json_name(&first, "name");
		json_text(p->rules.rule[i].name);
		json_name(&first, "text");
		json_text(text);
		json_name(&first, "fired");
		printf("%u", past->fired);
		json_name(&first, "active");
		fputs(past->fired > past->cleared ? "true" : "false", stdout);
		if (past->real_usec) {
			json_name(&first, "last_time_usec");
			printf("%" PRIu64, past->real_usec);
			json_name(&first, "last");
			json_text(past->did);
		}
		putchar('}');
	}
	putchar(']');
}
