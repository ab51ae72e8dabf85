/* sources: ipc */
#include "tests/unit/scratch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/base/fault.h"
#include "ipc/base/file.h"
#include "ipc/base/mem.h"
#include "ipc/settings.h"

static struct settings sample(void)
{
	struct settings s = {.id = "web-1", .realm = "local", .stop_signal = 15, .real_created = 9};

	strcpy(s.cgroup, "/holdfast/local/web-1");
	strcpy(s.log_dir, "/var/log/holdfast/local/web-1");
	return s;
}

static void round_trip(void **state)
{
	const struct scratch *dir = *state;
	struct settings in = sample(), out;

	assert_int_equal(settings_write(dir->fd, &in), 0);
	assert_int_equal(settings_read(dir->fd, &out), 0);
	assert_memory_equal(&in, &out, sizeof(in));
}

static void cut_off(void **state)
{
	const struct scratch *dir = *state;
	struct settings in = sample(), out;

	assert_int_equal(settings_write(dir->fd, &in), 0);
	for (size_t len = 0; len < sizeof(in); len++) {
		assert_int_equal(file_replace(dir->fd, "settings", &in, len, 0600), 0);
		assert_int_equal(settings_read(dir->fd, &out), -EINVAL);
	}
}

/* An older writer's file is shorter and says so; a newer one's is longer. */
static void other_releases(void **state)
{
	const struct scratch *dir = *state;
	struct settings in = sample(), out;
	char longer[sizeof(in) + 64] = "";

	assert_int_equal(settings_write(dir->fd, &in), 0);
	in.size = offsetof(struct settings, real_created);
	assert_int_equal(file_replace(dir->fd, "settings", &in, in.size, 0600), 0);
	assert_int_equal(settings_read(dir->fd, &out), 0);
	assert_string_equal(out.id, "web-1");
	assert_true(out.real_created == 0);
	in.size = sizeof(in);
	memcpy(longer, &in, sizeof(in));
	assert_int_equal(file_replace(dir->fd, "settings", longer, sizeof(longer), 0600), 0);
	assert_int_equal(settings_read(dir->fd, &out), 0);
	in.version++;
	assert_int_equal(file_replace(dir->fd, "settings", &in, sizeof(in), 0600), 0);
	assert_int_equal(settings_read(dir->fd, &out), -EINVAL);
}

/* Never a string without its end, whatever the file says. */
static void every_byte_spoiled(void **state)
{
	const struct scratch *dir = *state;
	struct settings in = sample(), out;
	unsigned char *bytes = (unsigned char *)&in;

	assert_int_equal(settings_write(dir->fd, &in), 0);
	for (size_t i = 0; i < sizeof(in); i++) {
		unsigned char was = bytes[i];

		bytes[i] = 0xff;
		assert_int_equal(file_replace(dir->fd, "settings", &in, sizeof(in), 0600), 0);
		bytes[i] = was;
		if (settings_read(dir->fd, &out) < 0)
			continue;
		assert_true(memchr(out.id, 0, sizeof(out.id)) != NULL);
		assert_true(memchr(out.cgroup, 0, sizeof(out.cgroup)) != NULL);
		assert_true(memchr(out.bundle, 0, sizeof(out.bundle)) != NULL);
		assert_int_equal(id_check(out.id), 0);
	}
}

static void strings_without_end(void **state)
{
	const struct scratch *dir = *state;
	struct settings in = sample(), out;

	memset(in.log_dir, 'x', sizeof(in.log_dir));
	assert_int_equal(settings_write(dir->fd, &in), 0);
	assert_int_equal(settings_read(dir->fd, &out), -EINVAL);
	in = sample();
	strcpy(in.cgroup, "/holdfast/../../etc");
	assert_int_equal(settings_write(dir->fd, &in), 0);
	assert_int_equal(settings_read(dir->fd, &out), -EINVAL);
}

static void ids(void **state)
{
	static const char *const good[] = {"a", "web", "web-1", "a.b_c-d", "0", "A9"};
	static const char *const bad[] = {"", ".", "..", "-a", "a-", "a--b", "a..b", "a/b", "a b",
		"a\n", "\xc3\xa4", "a._b", "_", "../x"};
	char longest[ID_MAX + 2];

	for (size_t i = 0; i < array_size(good); i++)
		assert_int_equal(id_check(good[i]), 0);
	for (size_t i = 0; i < array_size(bad); i++)
		assert_int_equal(id_check(bad[i]), -EINVAL);
	memset(longest, 'a', sizeof(longest));
	longest[ID_MAX + 1] = '\0';
	assert_int_equal(id_check(longest), -EINVAL);
	longest[ID_MAX] = '\0';
	assert_int_equal(id_check(longest), 0);
}

static void roots(void **state)
{
	unsetenv("HOLDFAST_STATE_DIR");
	assert_string_equal(state_root(), "/run/holdfast");
	setenv("HOLDFAST_STATE_DIR", "relative", 1);
	assert_string_equal(state_root(), "/run/holdfast");
	setenv("HOLDFAST_STATE_DIR", "/elsewhere", 1);
	assert_string_equal(state_root(), "/elsewhere");
	unsetenv("HOLDFAST_LOG_DIR");
	assert_string_equal(log_root(), "/var/log/holdfast");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_scratch(round_trip),
		in_scratch(cut_off),
		in_scratch(other_releases),
		in_scratch(every_byte_spoiled),
		in_scratch(strings_without_end),
		cmocka_unit_test(ids),
		cmocka_unit_test(roots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
