#include "cli/opt_files.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/run_options.h"
#include "ipc/base/fault.h"

#define DOMAIN_MAX 253 /* RFC 1035, in text */

static bool address(const char *text)
{
	unsigned char bytes[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

/* Nothing that would end a line or a word of the file. */
static bool domain(const char *text, size_t len)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789.-_";

	return len > 0 && len <= DOMAIN_MAX && strspn(text, letters) >= len && text[0] != '-';
}

/* Takes over text. */
static int add(struct spec_list *list, char *text)
{
	int r = text ? spec_list_add(list, &text, sizeof(text)) : fault(-ENOMEM, "options");

	if (r < 0)
		free(text);
	return r;
}

/* NAME:IP or NAME=IP; the address may stand in brackets. */
int opt_add_host(void *ctx, const struct option *o, const char *value)
{
	struct run *run = ctx;
	size_t len = strcspn(value, ":=");
	const char *ip = value + len + (value[len] != '\0');
	char bare[64], *line;

	if (ip[0] == '[' && ip[strlen(ip) - 1] == ']')
		snprintf(bare, sizeof(bare), "%.*s", (int)strlen(ip) - 2, ip + 1);
	else
		snprintf(bare, sizeof(bare), "%s", ip);
	if (strcmp(bare, "host-gateway") == 0)
		return option_bad(o, value,
			"host-gateway: there is no bridge here whose gateway it could be (write the address)");
	if (!domain(value, len) || strlen(ip) >= sizeof(bare) || !address(bare))
		return option_bad(o, value, "use NAME:IP such as db:10.0.0.7 or db:fd00::7");
	if (asprintf(&line, "%s\t%.*s", bare, (int)len, value) < 0)
		line = NULL;
	return add(&run->files.hosts, line);
}

int opt_dns(void *ctx, const struct option *o, const char *value)
{
	struct run *run = ctx;

	if (!address(value))
		return option_bad(o, value, "not an address (use 9.9.9.9, or 2620:fe::fe)");
	return add(&run->files.dns, strdup(value));
}

int opt_dns_search(void *ctx, const struct option *o, const char *value)
{
	struct run *run = ctx;

	if (!domain(value, strlen(value)))
		return option_bad(
			o, value, "not a domain (use example.org; a dot alone for no domain)");
	return add(&run->files.search, strdup(value));
}

int opt_dns_option(void *ctx, const struct option *o, const char *value)
{
	struct run *run = ctx;

	if (!*value || strpbrk(value, " \t\n#;") || strlen(value) > DOMAIN_MAX)
		return option_bad(
			o, value, "use one word of resolv.conf(5): ndots:2, rotate, timeout:1");
	return add(&run->files.options, strdup(value));
}

/* Absolute, since the supervisor that writes it stands in /. */
int opt_pidfile(void *ctx, const struct option *o, const char *value)
{
	struct settings *s = &((struct run *)ctx)->settings;
	char dir[PATH_MAX], cwd[PATH_MAX] = "", *slash;
	struct stat st;
	int n;

	if (value[0] != '/' && !getcwd(cwd, sizeof(cwd)))
		return fault(-errno, "--pidfile \"%.200s\": the current directory", value);
	n = snprintf(dir, sizeof(dir), "%s%s%s", cwd, cwd[0] ? "/" : "", value);
	if (n >= (int)sizeof(s->pidfile))
		return option_bad(o, value, "longer than 255 bytes (use a shorter path)");
	memcpy(s->pidfile, dir, (size_t)n + 1);
	if (!*value || value[strlen(value) - 1] == '/' ||
		(stat(s->pidfile, &st) == 0 && !S_ISREG(st.st_mode)))
		return option_bad(o, value, "not a file (use a path such as /run/web.pid)");
	slash = strrchr(dir, '/');
	slash[slash == dir] = '\0';
	if (stat(dir, &st) < 0 || !S_ISDIR(st.st_mode))
		return option_bad(o, value, "its directory does not exist (make it first)");
	return 0;
}

int opt_hostname(void *ctx, const struct option *o, const char *value)
{
	struct run *run = ctx;
	size_t len = strlen(value);

	if (len == 0 || len > 63 || strchr(".-", *value) ||
		strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			      "0123456789.-") != len)
		return option_bad(o, value,
			"use 1 to 63 letters, digits, dots and dashes, a letter or digit first");
	run->spec.hostname = value;
	return 0;
}

int opt_host_files(void *ctx, const struct option *o, const char *value)
{
	struct settings *s = &((struct run *)ctx)->settings;

	if (strcmp(value, "all") != 0 && strcmp(value, "masked") != 0)
		return option_bad(o, value,
			"use all, or masked: secrets of the host are not shown (default)");
	s->flags &= ~(uint32_t)SETTINGS_HOST_FILES;
	s->flags |= value[0] == 'a' ? SETTINGS_HOST_FILES : 0;
	return 0;
}
