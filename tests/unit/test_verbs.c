/* sources: ipc */
#include "tests/unit/unit.h"

#include <string.h>

#include "ipc/base/mem.h"
#include "ipc/verbs.h"

/* First and last of each hundred, and who says them. */
static const struct group {
	uint16_t first, last;
	enum verb_from from;
	const char *prefix;
} groups[] = {
	{INIT_START, INIT_SPOOLED, FROM_SHIM, "init-"},
	{INIT_HELLO, INIT_BELL, FROM_INIT, "init-"},
	{KEEPER_READY, KEEPER_RETIRE, FROM_SHIM, "keeper-"},
	{KEEPER_HELLO, KEEPER_REAPED, FROM_KEEPER, "keeper-"},
	{LAUNCH_HOLD, LAUNCH_RESULT, FROM_LAUNCH, "launch-"},
	{CLIENT_START, CLIENT_EXEC_WAIT, FROM_CLIENT, "client-"},
	{CLIENT_REPLY, CLIENT_EXEC_ENDED, FROM_SHIM, "client-"},
};

static bool known(uint16_t id)
{
	for (size_t i = 0; i < array_size(groups); i++)
		if (id >= groups[i].first && id <= groups[i].last)
			return true;
	return false;
}

/* Some size and number of descriptors is right for it; returns the row. */
static const struct verb *row_of(uint16_t id, enum verb_from from)
{
	for (uint16_t fds = 0; fds <= CHANNEL_FDS_MAX; fds++) {
		for (uint32_t len = 0; len <= CHANNEL_BODY_MAX; len++) {
			struct msg h = {.verb = id, .nfds = fds, .len = len};
			const struct verb *v = verb_check(from, &h);

			if (v)
				return v;
		}
	}
	return NULL;
}

static void every_verb_has_one_row(void **state)
{
	for (size_t g = 0; g < array_size(groups); g++) {
		for (uint16_t id = groups[g].first; id <= groups[g].last; id++) {
			const struct verb *v = row_of(id, groups[g].from);

			if (!v)
				fail_msg("verb %u has no row for its sender", id);
			assert_int_equal(v->id, id);
			assert_memory_equal(
				verb_name(id), groups[g].prefix, strlen(groups[g].prefix));
			assert_true(v->min <= v->max && v->max <= CHANNEL_BODY_MAX);
			assert_true(v->fds <= CHANNEL_FDS_MAX);
		}
	}
}

static void nobody_else_may_say_it(void **state)
{
	for (size_t g = 0; g < array_size(groups); g++) {
		for (uint16_t id = groups[g].first; id <= groups[g].last; id++) {
			const struct verb *v = row_of(id, groups[g].from);
			struct msg h = {.verb = id, .nfds = v->fds, .len = v->min};

			for (int from = FROM_SHIM; from <= FROM_CLIENT; from++)
				assert_ptr_equal(verb_check((enum verb_from)from, &h),
					from == (int)groups[g].from ? v : NULL);
		}
	}
}

static void sizes_and_descriptors_are_exact(void **state)
{
	for (size_t g = 0; g < array_size(groups); g++) {
		for (uint16_t id = groups[g].first; id <= groups[g].last; id++) {
			const struct verb *v = row_of(id, groups[g].from);
			struct msg h = {.verb = id, .nfds = v->fds, .len = v->max};

			assert_ptr_equal(verb_check(groups[g].from, &h), v);
			h.len = v->max + 1;
			assert_null(verb_check(groups[g].from, &h));
			h.len = v->min - 1; /* wraps to huge for empty bodies: refused as well */
			assert_null(verb_check(groups[g].from, &h));
			h.len = v->min;
			h.nfds = v->fds + 1;
			assert_null(verb_check(groups[g].from, &h));
		}
	}
}

static void names_differ(void **state)
{
	for (unsigned a = 0; a < 1000; a++) {
		if (!known((uint16_t)a)) {
			assert_string_equal(verb_name((uint16_t)a), "unknown");
			continue;
		}
		for (unsigned b = a + 1; b < 1000; b++)
			if (known((uint16_t)b))
				assert_string_not_equal(
					verb_name((uint16_t)a), verb_name((uint16_t)b));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_verb_has_one_row),
		cmocka_unit_test(nobody_else_may_say_it),
		cmocka_unit_test(sizes_and_descriptors_are_exact),
		cmocka_unit_test(names_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
