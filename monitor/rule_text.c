#include "monitor/rule_text.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/mem.h"
#include "ipc/base/parse.h"
#include "ipc/base/sig.h"

#define COOLDOWN_STD  (60 * USEC_PER_SEC)
#define FREEZE_STD    (5 * USEC_PER_SEC)
#define FREEZE_MAX    (60 * USEC_PER_SEC)
#define THROTTLE_STD  50u
#define CLEAR_PERCENT 90u /* of the threshold, unless it is said */
#define PERCENT	      100u
#define TOKEN_MAX     160u

/* One rule's text on its way through the parser. */
struct cursor {
	const char *name; /* of the option */
	const char *text, *at;
	struct rule *rule;
	char token[TOKEN_MAX]; /* "": the end */
};

static int wrong(const struct cursor *c, const char *what)
{
	return fault_plain(-EINVAL, "%s \"%.200s\": \"%s\": %s", c->name, c->text,
		c->token[0] ? c->token : "the end", what);
}

/* A word with all that stands in parentheses behind it, or one of : ; , > >= */
static int next(struct cursor *c)
{
	size_t n = 0;
	int depth = 0;

	while (isspace((unsigned char)*c->at))
		c->at++;
	if (*c->at && strchr(":;,", *c->at))
		n = 1;
	else if (*c->at == '>')
		n = c->at[1] == '=' ? 2 : 1;
	else
		for (; c->at[n]; n++) {
			depth += (c->at[n] == '(') - (c->at[n] == ')');
			if (depth <= 0 &&
				(isspace((unsigned char)c->at[n]) || strchr(":;,>", c->at[n])))
				break;
		}
	if (n >= TOKEN_MAX)
		return fault_plain(-EINVAL, "%s \"%.200s\": a word of %zu bytes (159 at most)",
			c->name, c->text, n);
	memcpy(c->token, c->at, n);
	c->token[n] = '\0';
	c->at += n;
	return 0;
}

static bool is(const struct cursor *c, const char *word)
{
	return strcmp(c->token, word) == 0;
}

static int duration(struct cursor *c, uint64_t *ret)
{
	int r = next(c);

	if (r == 0 && parse_duration("", c->token, ret) < 0)
		return wrong(c, "not a time (use 250ms, 10s, 2m)");
	return r;
}

/* Values --------------------------------------------------------------------------------------- */

static int percent(const char *text, uint64_t *ret)
{
	size_t len = strlen(text);
	unsigned whole, part = 0;
	int used = 0;

	if (!len || text[len - 1] != '%' || !isdigit((unsigned char)text[0]))
		return -EINVAL;
	if (sscanf(text, "%3u%n", &whole, &used) != 1)
		return -EINVAL;
	if (text[used] == '.') {
		if (!isdigit((unsigned char)text[used + 1]))
			return -EINVAL;
		part = (unsigned)(text[used + 1] - '0') * 10;
		used += 2;
		if (isdigit((unsigned char)text[used]))
			part += (unsigned)(text[used++] - '0');
	}
	if (strcmp(text + used, "%") != 0 || whole * PERCENT + part > PERCENT * PERCENT)
		return -EINVAL;
	*ret = whole * PERCENT + part;
	return 0;
}

/* "1M/s" or "1M" */
static int rate(const char *text, uint64_t *ret)
{
	char size[32];
	size_t len = strlen(text);

	if (len > 2 && strcmp(text + len - 2, "/s") == 0)
		len -= 2;
	if (len >= sizeof(size))
		return -EINVAL;
	memcpy(size, text, len);
	size[len] = '\0';
	return parse_size("", size, ret);
}

static int value(struct cursor *c, uint64_t *ret)
{
	enum rule_signal s = (enum rule_signal)c->rule->signal;

	if (signal_info(s)->kind == KIND_RATE)
		return rate(c->token, ret) < 0 ? wrong(c, "not a rate (use 1M/s)") : 0;
	if (signal_is_percent(s))
		return percent(c->token, ret) < 0 ? wrong(c, "not a share (use 0% to 100%)") : 0;
	return parse_u64("", c->token, 0, UINT32_MAX, ret) < 0 ? wrong(c, "not a number of times")
							       : 0;
}

/* Actions -------------------------------------------------------------------------------------- */

static int arg_signal(struct cursor *c, const char *arg, struct rule_step *ret)
{
	int signo = arg ? sig_parse(arg) : 0;

	if (signo < 0 || signo > 64 || (arg && signo == 0))
		return wrong(c, "no such signal (use notify(USR1))");
	ret->arg = (uint64_t)signo;
	return 0;
}

static int arg_percent(struct cursor *c, const char *arg, struct rule_step *ret)
{
	uint64_t n = THROTTLE_STD * PERCENT;

	if (arg && (percent(arg, &n) < 0 || n < 5 * PERCENT || n > 95 * PERCENT))
		return wrong(c, "not a share from 5% to 95% (use throttle(50%))");
	ret->arg = n / PERCENT;
	return 0;
}

static int arg_freeze(struct cursor *c, const char *arg, struct rule_step *ret)
{
	ret->arg = FREEZE_STD;
	if (arg &&
		(parse_duration("", arg, &ret->arg) < 0 || ret->arg == 0 || ret->arg > FREEZE_MAX))
		return wrong(c, "not a time up to 60s (use freeze(5s))");
	return 0;
}

static int arg_grace(struct cursor *c, const char *arg, struct rule_step *ret)
{
	ret->arg = RULE_GRACE_STD;
	if (arg && parse_duration("", arg, &ret->arg) < 0)
		return wrong(c, "its grace is not a time (use restart(10s))");
	return 0;
}

static int arg_hook(struct cursor *c, const char *arg, struct rule_step *ret)
{
	if (!arg)
		return 0;
	if (arg[0] != '/' || strlen(arg) > RULE_HOOK_MAX || strpbrk(arg, " \t\r\n\v\f()"))
		return wrong(c,
			"its hook is the absolute path of a program, 127 bytes at most, without blanks or parentheses");
	if (c->rule->hook[0])
		return wrong(c, "a rule has one hook (leave one out)");
	snprintf(c->rule->hook, sizeof(c->rule->hook), "%s", arg);
	ret->arg = 1;
	return 0;
}

static int arg_none(struct cursor *c, const char *arg, struct rule_step *ret)
{
	return arg ? wrong(c, "takes nothing in parentheses") : 0;
}

static int (*const args[ACTIONS])(struct cursor *c, const char *arg, struct rule_step *ret) = {
	[ACTION_EVENT] = arg_none,
	[ACTION_NOTIFY] = arg_signal,
	[ACTION_THROTTLE] = arg_percent,
	[ACTION_FREEZE] = arg_freeze,
	[ACTION_DUMP] = arg_hook,
	[ACTION_RESTART] = arg_grace,
	[ACTION_STOP] = arg_grace,
	[ACTION_KILL] = arg_none,
};

static int action(struct cursor *c, struct rule_step *ret)
{
	char word[TOKEN_MAX], *arg;
	size_t len;

	snprintf(word, sizeof(word), "%s", c->token);
	arg = strchr(word, '(');
	if (arg) {
		*arg++ = '\0';
		len = strlen(arg);
		if (len < 2 || arg[len - 1] != ')')
			return wrong(c, "the parenthesis is not closed, or empty");
		arg[len - 1] = '\0';
	}
	for (unsigned a = 1; a < ACTIONS; a++)
		if (strcmp(word, rule_action_name((enum rule_action)a)) == 0) {
			ret->action = a;
			return args[a](c, arg, ret);
		}
	return wrong(c,
		"no such action (use event, notify, throttle, freeze, dump, restart, stop or kill)");
}

static int step(struct cursor *c, uint64_t pause)
{
	struct rule *r = c->rule;
	struct rule_step *s = &r->steps[r->steps_len];

	if (r->steps_len == RULE_STEPS)
		return wrong(c, "more than 8 actions (leave some out)");
	if (r->steps_len && rule_action_ends((enum rule_action)s[-1].action))
		return wrong(c, "nothing can follow restart, stop or kill (the run has ended)");
	s->pause_usec = pause;
	r->steps_len++;
	return action(c, s);
}

static int ladder(struct cursor *c)
{
	uint64_t pause = 0;
	int r;

	do {
		r = next(c);
		if (r < 0)
			return r;
		if (isdigit((unsigned char)c->token[0])) {
			if (!c->rule->steps_len || pause ||
				parse_duration("", c->token, &pause) < 0)
				return wrong(c, "not an action, nor a pause between two (use 10s)");
		} else {
			r = step(c, pause);
			pause = 0;
		}
		if (r == 0)
			r = next(c);
	} while (r == 0 && is(c, ","));
	if (r == 0 && pause)
		return wrong(c, "a pause, and nothing after it");
	return r;
}

/* The rest ------------------------------------------------------------------------------------- */

static int name_check(struct cursor *c)
{
	size_t len = strlen(c->token);

	if (!len || len > RULE_NAME_MAX)
		return wrong(c,
			"a rule has a name of 1 to 31 characters (NAME: SIGNAL > VALUE: ACTION)");
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)c->token[i]) && !strchr("-_.", c->token[i]))
			return wrong(c, "a name has letters, digits, and - _ . only");
	snprintf(c->rule->name, sizeof(c->rule->name), "%.31s", c->token);
	return 0;
}

static int signals_list(const struct cursor *c)
{
	char list[512] = "";
	size_t n = 0;

	for (unsigned s = 1; s < SIGNALS && n < sizeof(list); s++)
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s", s > 1 ? ", " : "",
			signal_info((enum rule_signal)s)->name);
	return fault_plain(-EINVAL, "%s \"%.100s\": \"%s\": no such signal (use %s)", c->name,
		c->text, c->token, list);
}

static int condition(struct cursor *c)
{
	struct rule *rule = c->rule;
	int r = next(c);

	rule->signal = signal_find(c->token, strlen(c->token));
	if (r < 0 || !rule->signal)
		return r < 0 ? r : signals_list(c);
	rule->window_usec = signal_info((enum rule_signal)rule->signal)->window_usec;
	r = next(c);
	if (r == 0 && (is(c, ">") || is(c, ">="))) {
		rule->or_equal = is(c, ">=");
		r = next(c);
		if (r == 0)
			r = value(c, &rule->threshold);
		if (r == 0)
			r = next(c);
	} else if (r == 0 && signal_is_percent((enum rule_signal)rule->signal)) {
		return wrong(c, "no threshold (write > VALUE behind the signal)");
	} else if (r == 0 && signal_info((enum rule_signal)rule->signal)->kind == KIND_RATE) {
		return wrong(c, "no threshold (write > VALUE behind the signal)");
	}
	return r;
}

static int timing(struct cursor *c)
{
	struct rule *rule = c->rule;
	int r = 0;

	while (r == 0 && (is(c, "over") || is(c, "for"))) {
		bool over = is(c, "over");

		if (over && !rule->window_usec)
			return wrong(c, "this signal is as it is now, over no time (leave it out)");
		r = duration(c, over ? &rule->window_usec : &rule->for_usec);
		if (r == 0 && over && rule->window_usec == 0)
			return wrong(c, "a window of no time (use over 2s)");
		if (r == 0)
			r = next(c);
	}
	if (r == 0 && !is(c, ":"))
		return wrong(c, "not over, for, or a colon and what to do");
	return r;
}

static int limit(struct cursor *c)
{
	struct rule *rule = c->rule;
	char *slash;
	uint64_t n;
	int r = next(c);

	slash = strchr(c->token, '/');
	if (r < 0 || !slash)
		return r < 0 ? r : wrong(c, "not N/TIME (use limit 3/1h)");
	*slash = '\0';
	r = parse_u64("", c->token, 1, RULE_LIMIT_N, &n);
	if (r == 0)
		r = parse_duration("", slash + 1, &rule->limit_usec);
	*slash = '/';
	if (r < 0 || rule->limit_usec == 0)
		return wrong(c, "not N/TIME with N from 1 to 16 (use limit 3/1h)");
	rule->limit_n = (uint32_t)n;
	return 0;
}

static int clear_at(struct cursor *c)
{
	int r = next(c);

	if (r == 0)
		r = value(c, &c->rule->clear);
	if (r == 0 && c->rule->clear > c->rule->threshold)
		return wrong(
			c, "above the threshold: it would be over before it begins (use less)");
	return r;
}

static int options(struct cursor *c, bool *cleared)
{
	int r = 0;

	while (r == 0 && is(c, ";")) {
		r = next(c);
		if (r == 0 && is(c, "cooldown"))
			r = duration(c, &c->rule->cooldown_usec);
		else if (r == 0 && is(c, "clear"))
			r = (*cleared = true, clear_at(c));
		else if (r == 0 && is(c, "limit"))
			r = limit(c);
		else if (r == 0)
			r = wrong(
				c, "no such word (use cooldown TIME, clear VALUE or limit N/TIME)");
		if (r == 0)
			r = next(c);
	}
	return r;
}

/* What would end a run before the last one's grace is over. */
static int grace_check(const struct cursor *c)
{
	const struct rule *r = c->rule;

	for (unsigned i = 0; i < r->steps_len; i++)
		if ((r->steps[i].action == ACTION_RESTART || r->steps[i].action == ACTION_STOP) &&
			r->steps[i].arg != RULE_GRACE_STD && r->steps[i].arg > r->cooldown_usec)
			return fault_plain(-EINVAL,
				"%s \"%s\": the grace of %s is longer than the cooldown (use less "
				"grace, or more cooldown)",
				c->name, r->name,
				rule_action_name((enum rule_action)r->steps[i].action));
	return 0;
}

int rule_parse(const char *name, const char *text, struct rule *ret)
{
	struct cursor c = {.name = name, .text = text, .at = text, .rule = ret};
	bool cleared = false;
	int r;

	memset(ret, 0, sizeof(*ret));
	ret->cooldown_usec = COOLDOWN_STD;
	if (strlen(text) >= RULE_TEXT_MAX)
		return fault_plain(-EINVAL, "%s \"%.100s...\": longer than 1023 bytes", name, text);
	r = next(&c);
	if (r == 0)
		r = name_check(&c);
	if (r == 0)
		r = next(&c);
	if (r == 0 && !is(&c, ":"))
		return wrong(&c, "a colon follows the name (NAME: SIGNAL > VALUE: ACTION)");
	if (r == 0)
		r = condition(&c);
	if (r == 0)
		r = timing(&c);
	if (r == 0)
		r = ladder(&c);
	if (r == 0)
		r = options(&c, &cleared);
	if (r == 0 && c.token[0])
		return wrong(&c, "unexpected (actions are joined by commas, the rest by ;)");
	if (r == 0 && !cleared)
		ret->clear = ret->threshold * CLEAR_PERCENT / PERCENT;
	return r == 0 ? grace_check(&c) : r;
}
