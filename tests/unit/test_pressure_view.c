/* sources: cli/pressure_view.c cli/pressure_svg.c cli/pressure_text.c cli/graph.c cli/figures.c */
/* sources: cli/text.c cli/when.c cli/screen.c ipc */
/* The pictures of a view that is made up: exact rows, a scale that is right, and words of a rule
 * that neither a terminal nor a browser acts on. */
#include "cli/pressure.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#define SEC 1000000ull
#define MIB (1ull << 20)

static struct pressure_view view;
static char text[1 << 16];

static struct logged *sample(uint64_t sec, uint64_t mib)
{
	struct logged *l = &view.samples[view.len++];

	*l = (struct logged){.boot_usec = sec * SEC, .run = 1};
	logged_put(l, LOGGED_MEMORY, mib * MIB);
	return l;
}

/* Sixty seconds, and one stall of half a second in the last. Standard output is no terminal: 80
 * columns. */
static int setup(void **unused)
{
	view = (struct pressure_view){
		.id = "web",
		.state = "running",
		.alive = true,
		.from = 1000 * SEC,
		.to = 1060 * SEC,
		.real_offset = 1700000000 * SEC - 1060 * SEC,
		.source = SOURCE_RING,
	};
	logged_put(sample(1000, 16), LOGGED_LIMIT, 64 * MIB);
	logged_put(sample(1030, 32), LOGGED_LIMIT, 64 * MIB);
	logged_put(sample(1059, 64), LOGGED_STALLS + 2, 0);
	logged_put(sample(1060, 64), LOGGED_STALLS + 2, SEC / 2);
	logged_put(&view.samples[3], LOGGED_LIMIT, 64 * MIB);
	view.actions_len = 1;
	view.actions[0] = (struct pressure_action){
		.boot_usec = 1030 * SEC,
		.real_usec = 1699999970 * SEC,
		.done = true,
		.rule = "r",
		.why = "memory.usage 51%",
		.action = "throttle(50%)",
		.result = "<b>&\"\033[31m\n\xff",
	};
	return 0;
}

/* What it prints: stdout is a file for so long. */
static const char *printed(void)
{
	FILE *file = tmpfile();
	int out = dup(STDOUT_FILENO);
	size_t n;

	assert_non_null(file);
	fflush(stdout);
	assert_true(dup2(fileno(file), STDOUT_FILENO) >= 0);
	pressure_text(&view);
	fflush(stdout);
	assert_true(dup2(out, STDOUT_FILENO) >= 0);
	close(out);
	rewind(file);
	n = fread(text, 1, sizeof(text) - 1, file);
	text[n] = '\0';
	fclose(file);
	return text;
}

static const char *svg(void)
{
	FILE *out = fmemopen(text, sizeof(text), "w");

	assert_non_null(out);
	pressure_svg(out, &view);
	assert_int_equal(fclose(out), 0);
	return text;
}

static void has(const char *all, const char *part)
{
	if (!strstr(all, part))
		fail_msg("no \"%s\" in: %s", part, all);
}

static void test_ascii(void **unused)
{
	const char *s;

	setenv("LC_ALL", "C", 1);
	s = printed();
	has(s, "web (running): memory, pressure and actions, 2023-11-14T22:12:20Z to "
	       "2023-11-14T22:13:20Z\n");
	has(s, "memory         |                                                             @@|\n"
	       " max 64 MiB    |                                                             @@|\n"
	       " of  64 MiB    |                               @                             @@|\n"
	       "               |@~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~@~~~~~~~~~~~~~~~~~~~~~~~~~~~~~@@|\n");
	has(s, "cpu some       |                                                               |\n"
	       " max 50.0%     |                                                             @@|\n");
	has(s, "actions        |                               1                               |\n"
	       "UTC             22:12:20                                               22:13:20\n");
	has(s, "\n1 2023-11-14T22:12:50.000000Z r: memory.usage 51%: throttle(50%): "
	       "<b>&\"\\x1b[31m\\n\\xff\n");
	for (const char *p = s; *p; p++)
		assert_true((*p >= ' ' && *p < 0x7f) || *p == '\n');
}

static void test_utf8(void **unused)
{
	const char *s;

	setenv("LC_ALL", "C.UTF-8", 1);
	s = printed();
	has(s, "               |\xe2\x96\x88\xc2\xb7\xc2\xb7");
	assert_null(strchr(s, '\033'));
	assert_null(strchr(s, '~'));
}

static void test_close_actions(void **unused)
{
	const char *s;

	setenv("LC_ALL", "C", 1);
	for (unsigned i = 1; i < 5; i++)
		view.actions[i] = view.actions[0];
	view.actions_len = 5;
	view.actions_more = 7;
	view.actions[4].done = false;
	s = printed();
	has(s, "|                               12345                           |\n");
	has(s, "and 7 earlier ones (holdfast events web)\n");
	has(s, ": no result yet\n");
}

/* At the right edge there is no room beyond; order stays. */
static void test_actions_of_just_now(void **unused)
{
	setenv("LC_ALL", "C", 1);
	for (unsigned i = 1; i < 4; i++)
		view.actions[i] = view.actions[0];
	view.actions[2].boot_usec = view.actions[3].boot_usec = view.to;
	view.actions_len = 4;
	has(printed(), "|                               12                            34|\n");
	view.actions[0].boot_usec = view.actions[1].boot_usec = view.to - SEC;
	has(printed(), "|                                                           1234|\n");
	for (unsigned i = 0; i < ACTIONS_SHOWN; i++)
		view.actions[i].boot_usec = view.to;
	view.actions_len = ACTIONS_SHOWN;
	has(printed(), "|                            123456789abcdefghijklmnopqrstuvwxyz|\n");
}

static void test_without_samples(void **unused)
{
	const char *s;

	setenv("LC_ALL", "C", 1);
	view.len = view.actions_len = 0;
	view.source = SOURCE_NONE;
	s = printed();
	has(s, "memory         |                                                               |\n");
	has(s, " no limit      |");
	has(s, "no actions\nNo samples: nothing was ever near to a rule.\n");
	view.source = SOURCE_LOST;
	has(printed(), "The samples are not shown: they are damaged");
}

static void test_svg(void **unused)
{
	const char *s = svg();

	assert_int_equal(strncmp(s, "<svg xmlns=", 11), 0);
	assert_string_equal(s + strlen(s) - 7, "</svg>\n");
	has(s, "<title id=\"title\">web (running): ");
	has(s, "throttle(50%): &lt;b&gt;&amp;&quot;\\x1b[31m\\n\\xff</text>");
	has(s, ">limit 64 MiB</text>");
	has(s, "over time. Actions of rules: 1.</desc>");
	has(s, ">some: most 50.0%</text>");
	has(s, "<path class=\"level\" d=\"M130 154v-27.5h2v27.5zM530 154v-55.0h2v55.0z");
	assert_null(strstr(s, "<b>"));
	assert_null(strstr(s, "<script"));
	for (const char *p = s; *p; p++)
		assert_true((*p >= ' ' && *p < 0x7f) || *p == '\n');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_ascii, setup),
		cmocka_unit_test_setup(test_utf8, setup),
		cmocka_unit_test_setup(test_close_actions, setup),
		cmocka_unit_test_setup(test_actions_of_just_now, setup),
		cmocka_unit_test_setup(test_without_samples, setup),
		cmocka_unit_test_setup(test_svg, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
