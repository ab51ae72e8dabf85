#include "ipc/health.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"

#define CONF_NAME  "health"
#define STATE_NAME "healthstate"
#define READ_TRIES 100

static const char *name_of(const char *const *names, uint32_t n, uint32_t i)
{
	return i < n ? names[i] : "?";
}

const char *probe_kind_name(uint32_t kind)
{
	static const char *const names[PROBE_KINDS] = {
		"startup", "readiness", "liveness", "health"};

	return name_of(names, PROBE_KINDS, kind);
}

const char *probe_standing_name(uint32_t s)
{
	static const char *const names[PROBE_STANDINGS] = {"starting", "passing", "failing"};

	return name_of(names, PROBE_STANDINGS, s);
}

const char *health_verdict_name(uint32_t v)
{
	static const char *const names[HEALTHS] = {"none", "starting", "healthy", "unhealthy"};

	return name_of(names, HEALTHS, v);
}

const char *service_said_name(uint32_t said)
{
	static const char *const names[SAID_WORDS] = {"", "ready", "reloading", "stopping"};

	return name_of(names, SAID_WORDS, said);
}

static void put_words(const struct probe_conf *conf, char *ret, uint32_t size)
{
	const char *at = conf->text;
	uint32_t n = (uint32_t)snprintf(ret, size, "exec:");

	for (uint32_t i = 0; i < conf->words && n < size; i++, at += strlen(at) + 1)
		n += (uint32_t)snprintf(ret + n, size - n, i ? " %s" : "%s", at);
}

void probe_target(const struct probe_conf *conf, char *ret, uint32_t size)
{
	char addr[INET6_ADDRSTRLEN] = "?";

	inet_ntop(conf->v6 ? AF_INET6 : AF_INET, conf->addr, addr, sizeof(addr));
	if (conf->how == PROBE_EXEC)
		put_words(conf, ret, size);
	else if (conf->how == PROBE_UNIX)
		snprintf(ret, size, "unix:%s", conf->text);
	else
		snprintf(ret, size, conf->v6 ? "%s://[%s]:%u%s" : "%s://%s:%u%s",
			conf->how == PROBE_TCP ? "tcp" : "http", addr, conf->port,
			conf->how == PROBE_HTTP ? conf->text : "");
}

int health_write(int state_dirfd, struct health_conf *conf)
{
	conf->magic = HEALTH_MAGIC;
	conf->version = HEALTH_VERSION;
	conf->size = sizeof(*conf);
	return file_replace(state_dirfd, CONF_NAME, conf, sizeof(*conf), 0600);
}

/* All words end within the text. */
static bool words_ok(const struct probe_conf *c)
{
	uint32_t ends = 0;

	for (uint32_t i = 0; i < PROBE_WORDS; i++)
		ends += c->text[i] == '\0';
	return c->words <= ends && (c->how != PROBE_EXEC || c->words > 0);
}

static bool conf_ok(const struct health_conf *c)
{
	if (c->magic != HEALTH_MAGIC || c->version != HEALTH_VERSION || c->count > PROBES_MAX)
		return false;
	for (uint32_t i = 0; i < c->count; i++) {
		const struct probe_conf *p = &c->probes[i];

		if (p->kind >= PROBE_KINDS || p->how >= PROBE_HOWS || p->period_usec == 0 ||
			p->failures == 0 || p->successes == 0 || !words_ok(p) ||
			!memchr(p->host, '\0', sizeof(p->host)))
			return false;
	}
	return true;
}

static int read_whole(int state_dirfd, const char *name, void *ret, size_t size)
{
	auto_fd fd = openat(state_dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n;

	memset(ret, 0, size);
	if (fd < 0)
		return fault(-errno, "open %s", name);
	n = pread(fd, ret, size, 0);
	return n < 0 ? fault(-errno, "read %s", name) : 0;
}

int health_read(int state_dirfd, struct health_conf *ret)
{
	int r = read_whole(state_dirfd, CONF_NAME, ret, sizeof(*ret));

	if (r < 0)
		return r;
	return conf_ok(ret) ? 0 : fault_plain(-EBADMSG, "%s: damaged", CONF_NAME);
}

static bool state_ok(const struct health_state *s)
{
	return s->magic == HEALTH_MAGIC && s->version == HEALTH_VERSION && s->size == sizeof(*s);
}

/* Texts end in their arrays, whoever wrote them. */
static void close_texts(struct health_state *s)
{
	s->status[sizeof(s->status) - 1] = '\0';
	for (uint32_t i = 0; i < PROBES_MAX; i++)
		s->probes[i].why[PROBE_WHY - 1] = '\0';
}

/* A shim that died over a change leaves it odd: what is read then is as good as it gets. */
int health_state_read(int state_dirfd, struct health_state *ret)
{
	struct health_state again;
	int r = read_whole(state_dirfd, STATE_NAME, ret, sizeof(*ret));

	for (int i = 0; r == 0 && i < READ_TRIES; i++) {
		r = read_whole(state_dirfd, STATE_NAME, &again, sizeof(again));
		if (r < 0 || (!(ret->changing & 1) && again.changing == ret->changing))
			break;
		*ret = again;
	}
	if (r < 0)
		return r;
	close_texts(ret);
	return state_ok(ret) ? 0 : fault_plain(-EBADMSG, "%s: damaged", STATE_NAME);
}

int health_state_map(int state_dirfd, struct health_state **ret)
{
	auto_fd fd =
		openat(state_dirfd, STATE_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct health_state *s;
	int err;

	if (fd < 0)
		return fault(-errno, "open %s", STATE_NAME);
	/* room for all of it now: a page that a full disk lacks would be a SIGBUS later */
	err = posix_fallocate(fd, 0, sizeof(*s));
	if (err)
		return fault(-err, "make room for %s", STATE_NAME);
	s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (s == MAP_FAILED)
		return fault(-errno, "map %s", STATE_NAME);
	if (!state_ok(s)) {
		memset(s, 0, sizeof(*s));
		s->version = HEALTH_VERSION;
		s->size = sizeof(*s);
		s->magic = HEALTH_MAGIC;
	}
	s->changing &= ~1u; /* a predecessor may have died over a change */
	close_texts(s);
	*ret = s;
	return 0;
}
