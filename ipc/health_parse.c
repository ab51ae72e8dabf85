/* --probe KIND=TARGET[,KEY=VALUE]...
 *
 *   KIND    startup, readiness, liveness or health
 *   TARGET  exec:WORD [WORD...]     runs it in the container; status 0 is good
 *           tcp://HOST:PORT         a connection is made
 *           http://HOST[:PORT]/PATH status 200 to 399
 *           unix:/PATH              a connection is made
 *   HOST    an IPv4 address, an IPv6 one in brackets, or localhost (127.0.0.1)
 *   KEY     period, timeout, delay, grace: a time; failures, successes: a number
 *
 * A comma or space between quotes ('...' or "...") is none; the quotes are taken off. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/mem.h"
#include "ipc/base/parse.h"
#include "ipc/health.h"

#define TEXT_MAX      1024u
#define SHORTEST      (100 * USEC_PER_MSEC)
#define THRESHOLD_MAX 1000000u
#define HTTP_PORT     80

/* For messages: what the user wrote. */
struct said {
	const char *option, *whole;
};

static int bad(const struct said *s, const char *what)
{
	return fault_plain(-EINVAL, "%s \"%.200s\": %s", s->option, s->whole, what);
}

void probe_defaults(struct probe_conf *conf, enum probe_kind kind)
{
	memset(conf, 0, sizeof(*conf));
	conf->kind = kind;
	conf->period_usec = 10 * USEC_PER_SEC;
	conf->timeout_usec = USEC_PER_SEC;
	conf->failures = 3;
	conf->successes = 1;
	if (kind != PROBE_HEALTH)
		return;
	conf->period_usec = conf->timeout_usec = 30 * USEC_PER_SEC; /* docker's */
}

/* The length of what stands before the next `stop` outside quotes. */
static size_t until(const char *s, const char *stop)
{
	char quote = 0;
	size_t n = 0;

	for (; s[n]; n++) {
		if (quote && s[n] == quote)
			quote = 0;
		else if (!quote && (s[n] == '\'' || s[n] == '"'))
			quote = s[n];
		else if (!quote && strchr(stop, s[n]))
			break;
	}
	return n;
}

/* Without the quotes that open and close; false: one is not closed, or it does not fit. */
static bool unquote(const char *from, size_t len, char *to, size_t size)
{
	char quote = 0;

	for (size_t i = 0; i < len; i++) {
		if (quote && from[i] == quote) {
			quote = 0;
		} else if (!quote && (from[i] == '\'' || from[i] == '"')) {
			quote = from[i];
		} else {
			if (size < 2)
				return false;
			*to++ = from[i];
			size--;
		}
	}
	*to = '\0';
	return !quote;
}

int probe_words(const char *option, const char *whole, const char *text, struct probe_conf *conf)
{
	const struct said s = {option, whole};
	size_t used = 0;

	conf->how = PROBE_EXEC;
	conf->words = 0;
	for (text += strspn(text, " \t"); *text; text += strspn(text, " \t")) {
		size_t len = until(text, " \t");
		char *at = conf->text + used;

		if (!unquote(text, len, at, PROBE_WORDS - used))
			return bad(&s,
				"a quote is not closed, or the command is longer than 511 bytes");
		used += strlen(at) + 1;
		conf->words++;
		text += len;
		if (used >= PROBE_WORDS && text[strspn(text, " \t")])
			return bad(&s, "the command is longer than 511 bytes (use a script)");
	}
	return conf->words ? 0 : bad(&s, "there is no command (use exec:/bin/check)");
}

static int take_host(const struct said *s, const char *host, size_t len, struct probe_conf *conf)
{
	char text[64];

	conf->v6 = len > 2 && host[0] == '[' && host[len - 1] == ']';
	if (len == 0 || len >= sizeof(text))
		return bad(s, "there is no host in it (use 127.0.0.1:8080)");
	snprintf(text, sizeof(text), "%.*s", (int)(conf->v6 ? len - 2 : len),
		host + (conf->v6 ? 1 : 0));
	if (strcmp(text, "localhost") == 0)
		snprintf(text, sizeof(text), "127.0.0.1");
	if (inet_pton(conf->v6 ? AF_INET6 : AF_INET, text, conf->addr) != 1)
		return bad(s,
			"the host must be an address: 127.0.0.1, [::1], or localhost (names are not looked up)");
	return 0;
}

/* HOST[:PORT], of this length. */
static int take_place(
	const struct said *s, const char *at, size_t len, uint32_t port, struct probe_conf *conf)
{
	const char *close = memchr(at, ']', len), *colon;
	char number[8];
	uint64_t n = port;

	colon = memchr(close ? close : at, ':', len - (size_t)((close ? close : at) - at));
	if (colon) {
		snprintf(number, sizeof(number), "%.*s", (int)(at + len - colon - 1), colon + 1);
		n = 0;
		if (at + len - colon - 1 < 6 && parse_u64("", number, 1, 65535, &n) < 0)
			n = 0;
	}
	if (n == 0)
		return bad(s, "the port must be a number from 1 to 65535: 127.0.0.1:8080");
	conf->port = (uint32_t)n;
	return take_host(s, at, colon ? (size_t)(colon - at) : len, conf);
}

static int take_tcp(const struct said *s, const char *at, struct probe_conf *conf)
{
	return take_place(s, at, strlen(at), 0, conf);
}

/* Nothing in it can end the line of the request. */
static int take_http(const struct said *s, const char *at, struct probe_conf *conf)
{
	size_t len = strcspn(at, "/");
	const char *path = at[len] ? at + len : "/";

	if (strlen(path) >= PROBE_WORDS)
		return bad(s, "the path is longer than 511 bytes");
	for (const char *p = path; *p; p++)
		if (*p <= ' ' || *p > '~')
			return bad(s,
				"the path must be printable, without spaces (write them as %20)");
	if (len >= sizeof(conf->host))
		return bad(s, "the host is too long");
	snprintf(conf->host, sizeof(conf->host), "%.*s", (int)len, at);
	snprintf(conf->text, sizeof(conf->text), "%s", path);
	return take_place(s, at, len, HTTP_PORT, conf);
}

static int take_unix(const struct said *s, const char *at, struct probe_conf *conf)
{
	if (at[0] != '/' || strlen(at) < 2 || strlen(at) >= PROBE_WORDS)
		return bad(s, "a unix socket is an absolute path: unix:/run/web.sock");
	snprintf(conf->text, sizeof(conf->text), "%s", at);
	return 0;
}

static int take_exec(const struct said *s, const char *at, struct probe_conf *conf)
{
	return probe_words(s->option, s->whole, at, conf);
}

static const struct {
	const char *start;
	enum probe_how how;
	bool quoted; /* its reader takes the quotes off */
	int (*read)(const struct said *s, const char *at, struct probe_conf *conf);
} targets[] = {
	{"exec:", PROBE_EXEC, true, take_exec},
	{"tcp://", PROBE_TCP, false, take_tcp},
	{"http://", PROBE_HTTP, false, take_http},
	{"unix:", PROBE_UNIX, false, take_unix},
};

static int take_target(const struct said *s, const char *at, size_t len, struct probe_conf *conf)
{
	char text[TEXT_MAX];

	for (size_t i = 0; i < array_size(targets); i++) {
		size_t n = strlen(targets[i].start);

		if (len < n || strncmp(at, targets[i].start, n) != 0)
			continue;
		conf->how = targets[i].how;
		if (targets[i].quoted)
			snprintf(text, sizeof(text), "%.*s", (int)(len - n), at + n);
		else if (!unquote(at + n, len - n, text, sizeof(text)))
			return bad(s, "a quote is not closed");
		return targets[i].read(s, text, conf);
	}
	if (strncmp(at, "https://", 8) == 0)
		return bad(s, "https is not spoken (use http, tcp, or exec with a client)");
	return bad(s,
		"not a target (use exec:COMMAND, tcp://HOST:PORT, http://HOST:PORT/PATH or unix:/PATH)");
}

#define AT(member) offsetof(struct probe_conf, member)

static const struct {
	const char *name;
	bool time;
	size_t at;
} keys[] = {
	{"period", true, AT(period_usec)},
	{"timeout", true, AT(timeout_usec)},
	{"delay", true, AT(delay_usec)},
	{"grace", true, AT(grace_usec)},
	{"failures", false, AT(failures)},
	{"successes", false, AT(successes)},
};

static int take_key(const struct said *s, const char *at, size_t len, struct probe_conf *conf)
{
	char text[64];
	char *value;
	uint64_t n;

	snprintf(text, sizeof(text), "%.*s", (int)len, at);
	value = strchr(text, '=');
	if (value)
		*value++ = '\0';
	for (size_t i = 0; value && i < array_size(keys); i++) {
		if (strcmp(keys[i].name, text) != 0)
			continue;
		if (keys[i].time)
			return parse_duration("", value, (void *)((char *)conf + keys[i].at)) < 0
				       ? bad(s, "period, timeout, delay and grace are times: period=10s")
				       : 0;
		if (parse_u64("", value, 1, THRESHOLD_MAX, &n) < 0)
			return bad(s, "failures and successes are numbers from 1: failures=3");
		*(uint32_t *)(void *)((char *)conf + keys[i].at) = (uint32_t)n;
		return 0;
	}
	return bad(s,
		"behind the target only period=, timeout=, delay=, grace=, failures= and successes= may follow (a comma of its own stands in quotes)");
}

int probe_check(const char *option, const char *whole, const struct probe_conf *conf)
{
	const struct said s = {option, whole};

	if (conf->period_usec < SHORTEST)
		return bad(&s, "the period is shorter than 100ms");
	if (conf->timeout_usec == 0)
		return bad(&s, "a timeout of 0 is none (use timeout=1s)");
	if (conf->kind != PROBE_READINESS && conf->successes != 1)
		return bad(&s, "successes= is for readiness alone (leave it out)");
	return 0;
}

int probe_parse(const char *option, const char *text, struct probe_conf *ret)
{
	const struct said s = {option, text};
	const char *at = strchr(text, '=');
	uint32_t kind = 0;
	size_t len;
	int r;

	while (at && kind < PROBE_KINDS &&
		(strlen(probe_kind_name(kind)) != (size_t)(at - text) ||
			strncmp(probe_kind_name(kind), text, (size_t)(at - text)) != 0))
		kind++;
	if (!at || kind == PROBE_KINDS)
		return bad(&s, "use startup=, readiness=, liveness= or health= before its target");
	if (strlen(text) >= TEXT_MAX)
		return bad(&s, "longer than 1023 bytes");
	probe_defaults(ret, (enum probe_kind)kind);
	len = until(++at, ",");
	r = take_target(&s, at, len, ret);
	for (at += len; r == 0 && *at; at += len) {
		len = until(++at, ",");
		r = take_key(&s, at, len, ret);
	}
	return r == 0 ? probe_check(option, text, ret) : r;
}
