/* sources: cli/state.c cli/group.c ipc */
#include "tests/unit/scratch.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/state.h"
#include "ipc/base/fault.h"

static void roots(const struct scratch *s, const char *logs)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/state", s->path);
	setenv("HOLDFAST_STATE_DIR", path, 1);
	snprintf(path, sizeof(path), "%s/%s", s->path, logs);
	setenv("HOLDFAST_LOG_DIR", path, 1);
}

static bool there(const struct scratch *s, const char *path)
{
	return faccessat(s->fd, path, F_OK, 0) == 0;
}

static int create(const char *id, struct state *s)
{
	char log_dir[128];

	state_log_dir(NULL, id, log_dir, sizeof(log_dir));
	return state_create(id, log_dir, s);
}

static void make(const char *id)
{
	struct state s;

	assert_int_equal(create(id, &s), STATE_DONE);
	state_close(&s);
}

static bool finds(const char *name, const char *id)
{
	struct state s;
	bool found = state_find(name, &s) == 0 && strcmp(s.id, id) == 0;

	state_close(&s);
	return found;
}

static int failure(const char *name)
{
	struct state s;

	return state_find(name, &s);
}

static void test_only_random_ids_are_shortened(void **state)
{
	roots(*state, "logs");
	make("web-db");
	make("0123456789ab");
	make("0123456789cd");
	make("ffff00001111");
	make("ABCDEF012345");
	make("abcdef0123456");
	assert_true(finds("web-db", "web-db"));
	assert_int_equal(failure("web"), -ENOENT);
	assert_int_equal(failure("web-"), -ENOENT);
	assert_int_equal(failure("ABCDEF"), -ENOENT);
	assert_int_equal(failure("abcdef"), -ENOENT);
	assert_int_equal(failure("fff"), -ENOENT);
	assert_int_equal(failure(""), -ENOENT);
	assert_true(finds("ffff", "ffff00001111"));
	assert_int_equal(failure("0123"), -ENOTUNIQ);
	assert_true(finds("0123456789a", "0123456789ab"));
	make("0123");
	assert_true(finds("0123", "0123"));
}

/* The name is another container's by now: nothing of that one goes. */
static void test_discard_leaves_a_namesake(void **state)
{
	struct scratch *dir = *state;
	char log_dir[128];
	struct state s;

	roots(dir, "logs");
	assert_int_equal(create("a", &s), STATE_DONE);
	assert_int_equal(renameat(dir->fd, "state/local/a", dir->fd, "state/old"), 0);
	assert_int_equal(mkdirat(dir->fd, "state/local/a", 0700), 0);
	state_log_dir(NULL, "a", log_dir, sizeof(log_dir));
	state_discard(&s, log_dir);
	assert_true(there(dir, "state/local/a"));
	assert_true(there(dir, "logs/local/a"));
	assert_int_equal(state_open("a", &s), 0);
	state_discard(&s, log_dir);
	assert_false(there(dir, "state/local/a"));
	assert_false(there(dir, "logs/local/a"));
}

/* Its logs are where its settings say, whatever the environment says now. */
static void test_remove_takes_the_logs_of_its_settings(void **state)
{
	struct scratch *dir = *state;
	struct settings settings = {.id = "a", .realm = REALM, .cgroup = "/holdfast/local/a"};
	struct state s;

	roots(dir, "logs");
	assert_int_equal(create("a", &s), STATE_DONE);
	state_log_dir(NULL, "a", settings.log_dir, sizeof(settings.log_dir));
	assert_int_equal(settings_write(s.dirfd, &settings), 0);
	roots(dir, "elsewhere");
	assert_int_equal(state_remove(&s), 0);
	state_close(&s);
	assert_false(there(dir, "logs/local/a"));
	assert_false(there(dir, "state/local/a"));
}

/* A settings file that was tampered with names no directory to remove. */
static void test_remove_keeps_to_log_directories(void **state)
{
	struct scratch *dir = *state;
	struct settings settings = {.id = "a", .realm = REALM, .cgroup = "/holdfast/local/a"};
	struct state s;

	roots(dir, "logs");
	assert_int_equal(create("a", &s), STATE_DONE);
	assert_int_equal(mkdirat(dir->fd, "precious", 0700), 0);
	snprintf(settings.log_dir, sizeof(settings.log_dir), "%s/precious", dir->path);
	assert_int_equal(settings_write(s.dirfd, &settings), 0);
	assert_int_equal(state_remove(&s), 0);
	state_close(&s);
	assert_true(there(dir, "precious"));
	assert_false(there(dir, "logs/local/a"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_only_random_ids_are_shortened, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(
			test_discard_leaves_a_namesake, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(test_remove_takes_the_logs_of_its_settings,
			scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(
			test_remove_keeps_to_log_directories, scratch_setup, scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
