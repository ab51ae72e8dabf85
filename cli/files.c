#include "cli/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/state.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"
#include "ipc/base/mem.h"

#define HOST_FILE_MAX (1u << 20)

enum which { HOSTS, HOSTNAME, RESOLV, WHICH };

static const char *const names[WHICH] = {"hosts", "hostname", "resolv.conf"};

static void list_finish(struct spec_list *list)
{
	char **items = list->items;

	for (size_t i = 0; i < list->len; i++)
		free(items[i]);
	free(items);
	*list = (struct spec_list){0};
}

void files_finish(struct files *f)
{
	list_finish(&f->hosts);
	list_finish(&f->dns);
	list_finish(&f->search);
	list_finish(&f->options);
}

static bool asked(const struct files *f, enum which w)
{
	return w == HOSTS ? f->hosts.len > 0
			  : w == RESOLV && (f->dns.len || f->search.len || f->options.len);
}

/* Texts -------------------------------------------------------------------------------------------
 */

static void print_list(FILE *out, const char *before, const struct spec_list *list)
{
	char *const *items = list->items;

	for (size_t i = 0; i < list->len; i++)
		fprintf(out, "%s%s", before, items[i]);
}

/* The host's own comes first where there is one: its network is the container's. */
char *files_hosts(const struct files *f, const char *name, const char *host)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	if (host)
		fprintf(out, "%s%s", host, *host && host[strlen(host) - 1] != '\n' ? "\n" : "");
	else
		fputs("127.0.0.1\tlocalhost\n"
		      "::1\tlocalhost ip6-localhost ip6-loopback\n"
		      "fe00::0\tip6-localnet\n"
		      "ff00::0\tip6-mcastprefix\n"
		      "ff02::1\tip6-allnodes\n"
		      "ff02::2\tip6-allrouters\n",
			out);
	if (name)
		fprintf(out, "127.0.1.1\t%s\n", name);
	for (size_t i = 0; i < f->hosts.len; i++)
		fprintf(out, "%s\n", ((char *const *)f->hosts.items)[i]);
	return fclose(out) == 0 ? text : NULL;
}

/* Is the line about what an option replaces? */
static bool replaced(const struct files *f, const char *line)
{
	const struct {
		const char *word;
		bool set;
	} words[] = {
		{"nameserver", f->dns.len > 0},
		{"search", f->search.len > 0},
		{"domain", f->search.len > 0},
		{"options", f->options.len > 0},
	};
	size_t n = strspn(line, " \t");

	for (size_t i = 0; i < array_size(words); i++) {
		size_t len = strlen(words[i].word);

		if (strncmp(line + n, words[i].word, len) == 0 && strchr(" \t\n", line[n + len]))
			return words[i].set;
	}
	return false;
}

static bool no_search(const struct files *f)
{
	return f->search.len == 1 && strcmp(((char *const *)f->search.items)[0], ".") == 0;
}

char *files_resolv(const struct files *f, const char *host)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	for (const char *line = host; line && *line;) {
		size_t n = strcspn(line, "\n");

		if (!replaced(f, line))
			fprintf(out, "%.*s\n", (int)n, line);
		line += n + (line[n] == '\n');
	}
	for (size_t i = 0; i < f->dns.len; i++)
		fprintf(out, "nameserver %s\n", ((char *const *)f->dns.items)[i]);
	if (f->search.len && !no_search(f)) {
		fputs("search", out);
		print_list(out, " ", &f->search);
		fputc('\n', out);
	}
	if (f->options.len) {
		fputs("options", out);
		print_list(out, " ", &f->options);
		fputc('\n', out);
	}
	return fclose(out) == 0 ? text : NULL;
}

/* Mounts ------------------------------------------------------------------------------------------
 */

static bool host_network(const struct spec *spec)
{
	return spec->network == NETWORK_HOST;
}

/* Somebody mounts there already: the user's own file is the one that counts. */
static bool taken(const struct spec *spec, const char *target)
{
	const struct spec_mount *m = spec->mounts.items;

	for (size_t i = 0; i < spec->mounts.len; i++)
		if (strcmp(m[i].target, target) == 0)
			return true;
	return false;
}

static int open_inside(int root, const char *path, uint64_t flags)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};

	return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

/* "/etc" joined with a link's text, without "." and "..". */
static void join(char ret[PATH_MAX], const char *link)
{
	char text[PATH_MAX * 2], *rest = text, *part;
	size_t len = 0;

	snprintf(text, sizeof(text), "%s%s", link[0] == '/' ? "" : "/etc/", link);
	ret[0] = '\0';
	while ((part = strsep(&rest, "/"))) {
		if (strcmp(part, "..") == 0) {
			char *slash = strrchr(ret, '/');

			len = slash ? (size_t)(slash - ret) : 0;
			ret[len] = '\0';
		} else if (*part && strcmp(part, ".") != 0 && len + strlen(part) + 2 < PATH_MAX) {
			len += (size_t)snprintf(ret + len, PATH_MAX - len, "/%s", part);
		}
	}
}

/* Where it has to stand: resolv.conf is a symbolic link to somewhere below /run on many hosts, and
 * /run starts empty inside. Returns whether there is something now. */
static bool look(const struct spec *spec, const char *name, char target[PATH_MAX])
{
	auto_fd root = open(spec->rootfs ? spec->rootfs : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	auto_fd etc = root < 0 ? -1 : open_inside(root, "etc", O_PATH | O_DIRECTORY);
	char link[PATH_MAX];
	struct stat st;
	ssize_t n;

	snprintf(target, PATH_MAX, "/etc/%s", name);
	if (etc < 0 || fstatat(etc, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	n = S_ISLNK(st.st_mode) ? readlinkat(etc, name, link, sizeof(link) - 1) : 0;
	if (n > 0) {
		link[n] = '\0';
		join(target, link);
	}
	return true;
}

static bool wanted(const struct files *f, const struct spec *spec, enum which w, bool there)
{
	if (asked(f, w))
		return true;
	if (spec->bundle)
		return false;
	return !spec->rootfs || there; /* nothing is made in a user's directory unasked */
}

static int mount_put(struct spec *spec, const struct settings *settings, enum which w, char *target)
{
	struct spec_mount m = {.type = "bind"};
	char *source;
	int r;

	if (asprintf(&m.text, "%s%c%s/%s/%s/%s", target, '\0', state_root(), REALM, settings->id,
		    names[w]) < 0)
		return fault(-ENOMEM, "%s", names[w]);
	source = m.text + strlen(target) + 1;
	if (asprintf(&m.options, "bind,rprivate,nosuid,nodev,noexec,%s",
		    spec->read_only ? "ro" : "rw") < 0) {
		free(m.text);
		return fault(-ENOMEM, "%s", names[w]);
	}
	m.source = source;
	m.target = m.text;
	r = spec_list_add(&spec->mounts, &m, sizeof(m));
	if (r < 0) {
		free(m.text);
		free(m.options);
	}
	return r;
}

int files_mount(const struct files *f, struct spec *spec, const struct settings *settings)
{
	char target[PATH_MAX];
	int r = 0;

	for (int w = 0; r == 0 && w < WHICH; w++) {
		char usual[32];
		bool there = false;

		snprintf(usual, sizeof(usual), "/etc/%s", names[w]);
		if (spec->bundle)
			snprintf(target, sizeof(target), "%s", usual);
		else
			there = look(spec, names[w], target);
		if (wanted(f, spec, (enum which)w, there) && !taken(spec, usual) &&
			!taken(spec, target))
			r = mount_put(spec, settings, (enum which)w, target);
	}
	return r;
}

/* Files -------------------------------------------------------------------------------------------
 */

/* What the host has; a host without the file has nothing to say there. */
static char *host_file(const struct spec *spec, const char *path)
{
	char *text = NULL;

	if (!host_network(spec) || file_read(AT_FDCWD, path, HOST_FILE_MAX, &text) < 0)
		return NULL;
	return text;
}

static int put(int dirfd, enum which w, const char *text)
{
	if (!text)
		return fault(-ENOMEM, "%s", names[w]);
	return file_replace(dirfd, names[w], text, strlen(text), 0644);
}

int files_write(const struct files *f, const struct spec *spec, const struct settings *settings,
	int state_dirfd)
{
	auto_free char *host_hosts = host_file(spec, "/etc/hosts");
	auto_free char *host_resolv = host_file(spec, "/etc/resolv.conf");
	char name[SPEC_HOSTNAME_MAX + 1], line[SPEC_HOSTNAME_MAX + 2];
	const char *own = spec->hostname;
	auto_free char *hosts = NULL, *resolv = NULL;
	int r;

	spec_hostname(settings->id, name);
	if (!own && !spec->bundle) /* a bundle's own name is not looked up for this */
		own = name;
	hosts = files_hosts(f, own, host_hosts);
	resolv = files_resolv(f, host_resolv);
	snprintf(line, sizeof(line), "%s\n", own ? own : "");
	r = put(state_dirfd, HOSTS, hosts);
	if (r == 0)
		r = put(state_dirfd, HOSTNAME, line);
	return r == 0 ? put(state_dirfd, RESOLV, resolv) : r;
}
