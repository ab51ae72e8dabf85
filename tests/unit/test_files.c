/* sources: cli/files.c cli/spec.c cli/devices.c cli/options.c cli/keys.c ipc */
#include "tests/unit/scratch.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/files.h"
#include "ipc/base/mem.h"

static void add(struct spec_list *list, const char *text)
{
	char *copy = strdup(text);

	assert_int_equal(spec_list_add(list, &copy, sizeof(copy)), 0);
}

static void test_hosts(void **state)
{
	auto_free char *own = NULL, *hosts = NULL, *bare = NULL;
	struct files f = {{0}};

	add(&f.hosts, "10.0.0.7\tdb");
	own = files_hosts(&f, "web", NULL);
	assert_non_null(strstr(own, "127.0.0.1\tlocalhost\n::1\tlocalhost "));
	assert_non_null(strstr(own, "\n127.0.1.1\tweb\n10.0.0.7\tdb\n"));
	hosts = files_hosts(&f, NULL, "1.2.3.4 host");
	assert_string_equal(hosts, "1.2.3.4 host\n10.0.0.7\tdb\n");
	files_finish(&f);
	bare = files_hosts(&f, NULL, "");
	assert_string_equal(bare, "");
}

/* What an option names replaces the host's lines about it, and nothing else. */
static void test_resolv(void **state)
{
	static const char host[] = "# mine\nnameserver 1.1.1.1\nnameserver 2.2.2.2\n"
				   "search a b\n\toptions ndots:5\nnameservers\n";
	auto_free char *same = NULL, *dns = NULL, *rest = NULL, *none = NULL, *alone = NULL;
	struct files f = {{0}};

	same = files_resolv(&f, host);
	assert_string_equal(same, host);
	add(&f.dns, "9.9.9.9");
	dns = files_resolv(&f, host);
	assert_string_equal(
		dns, "# mine\nsearch a b\n\toptions ndots:5\nnameservers\nnameserver 9.9.9.9\n");
	add(&f.search, "example.org");
	add(&f.search, "example.com");
	add(&f.options, "ndots:1");
	add(&f.options, "rotate");
	rest = files_resolv(&f, host);
	assert_string_equal(rest, "# mine\nnameservers\nnameserver 9.9.9.9\n"
				  "search example.org example.com\noptions ndots:1 rotate\n");
	files_finish(&f);
	add(&f.search, ".");
	none = files_resolv(&f, "search a\n");
	assert_string_equal(none, "");
	files_finish(&f);
	alone = files_resolv(&f, NULL);
	assert_string_equal(alone, "");
}

static void make(const struct scratch *s, const char *path)
{
	int fd = openat(s->fd, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	close(fd);
}

/* Targets of the mounts that a --rootfs gets, in a line. */
static const char *targets(const struct scratch *s, const struct files *f)
{
	static char line[512];
	struct settings settings = {.id = "web"};
	struct spec spec = {.rootfs = s->path};
	const struct spec_mount *m;
	size_t n = 0;

	assert_int_equal(files_mount(f, &spec, &settings), 0);
	m = spec.mounts.items;
	line[0] = '\0';
	for (size_t i = 0; i < spec.mounts.len; i++)
		n += (size_t)snprintf(line + n, sizeof(line) - n, "%s ", m[i].target);
	spec_finish(&spec);
	return line;
}

static void test_where_they_stand(void **state)
{
	const struct scratch *s = *state;
	struct files f = {{0}};

	assert_string_equal(targets(s, &f), "");
	add(&f.dns, "9.9.9.9");
	assert_string_equal(targets(s, &f), "/etc/resolv.conf ");
	assert_int_equal(mkdirat(s->fd, "etc", 0755), 0);
	make(s, "etc/hosts");
	make(s, "etc/hostname");
	assert_string_equal(targets(s, &f), "/etc/hosts /etc/hostname /etc/resolv.conf ");
	assert_int_equal(symlinkat("../run/./x/../resolve/stub.conf", s->fd, "etc/resolv.conf"), 0);
	assert_string_equal(targets(s, &f), "/etc/hosts /etc/hostname /run/resolve/stub.conf ");
	assert_int_equal(unlinkat(s->fd, "etc/resolv.conf", 0), 0);
	assert_int_equal(symlinkat("/../run/stub.conf", s->fd, "etc/resolv.conf"), 0);
	files_finish(&f);
	assert_string_equal(targets(s, &f), "/etc/hosts /etc/hostname /run/stub.conf ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_resolv),
		cmocka_unit_test_setup_teardown(
			test_where_they_stand, scratch_setup, scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
