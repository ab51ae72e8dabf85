/* sources: cli/spec_seccomp.c cli/spec_doc.c ipc json-c */
/* Profiles of system calls: what is left of one once its conditions are decided. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/spec_doc.h"
#include "ipc/base/fault.h"
#include "ipc/base/mem.h"

static char path[64];

static int setup(void **state)
{
	snprintf(path, sizeof(path), "/tmp/holdfast-profile-%d", (int)getpid());
	return 0;
}

static int teardown(void **state)
{
	return unlink(path);
}

/* The profile made of text, as text; NULL: refused. The caller frees it. */
static char *made(const char *text)
{
	struct json_object *caps = json_object_new_array(), *profile;
	FILE *f = fopen(path, "we");
	char *ret = NULL;

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	json_object_array_add(caps, json_object_new_string("CAP_CHOWN"));
	if (seccomp_profile(path, caps, &profile) == 0) {
		ret = strdup(json_object_to_json_string_ext(profile, JSON_C_TO_STRING_PLAIN));
		json_object_put(profile);
	}
	json_object_put(caps);
	return ret;
}

static void check(const char *text, const char *want)
{
	auto_free char *have = made(text);

	assert_non_null(have);
	assert_string_equal(have, want);
}

#define ALLOW "{\"defaultAction\":\"SCMP_ACT_ALLOW\""
#define RULE  "{\"names\":[\"mkdir\"],\"action\":\"SCMP_ACT_ERRNO\""

static void test_oci_stays_as_it_is(void **state)
{
	check(ALLOW ",\"architectures\":[\"SCMP_ARCH_X86_64\"],\"syscalls\":[" RULE
		    ",\"errnoRet\":28,\"args\":[{\"index\":0}]}]}",
		ALLOW ",\"architectures\":[\"SCMP_ARCH_X86_64\"],\"syscalls\":[" RULE
		      ",\"errnoRet\":28,\"args\":[{\"index\":0}]}]}");
	check(ALLOW ",\"flags\":[\"X\"],\"unknown\":1}",
		ALLOW ",\"flags\":[\"X\"],\"syscalls\":[]}");
}

static void test_conditions(void **state)
{
	static const struct {
		const char *condition;
		bool applies;
	} rows[] = {
		{"\"includes\":{}", true},
		{"\"includes\":null,\"excludes\":7", true},
		{"\"includes\":{\"caps\":[\"CAP_CHOWN\"]}", true},
		{"\"includes\":{\"caps\":[\"CAP_CHOWN\",\"CAP_KILL\"]}", false},
		{"\"includes\":{\"caps\":[7]}", false},
		{"\"excludes\":{\"caps\":[\"CAP_KILL\"]}", true},
		{"\"excludes\":{\"caps\":[\"CAP_KILL\",\"CAP_CHOWN\"]}", false},
		{"\"includes\":{\"minKernel\":\"3.0\"}", true},
		{"\"includes\":{\"minKernel\":\"1000.0\"}", false},
		{"\"excludes\":{\"minKernel\":\"3.0\"}", false},
		{"\"includes\":{\"arches\":[\"pdp11\"]}", false},
		{"\"includes\":{\"arches\":[]}", true},
		{"\"excludes\":{\"arches\":[\"pdp11\"]}", true},
		{"\"includes\":{\"caps\":[\"CAP_CHOWN\"]},\"excludes\":{\"caps\":[\"CAP_CHOWN\"]}",
			false},
	};
	char text[400];

	for (size_t i = 0; i < array_size(rows); i++) {
		snprintf(text, sizeof(text), ALLOW ",\"syscalls\":[" RULE ",%s}]}",
			rows[i].condition);
		check(text, rows[i].applies ? ALLOW ",\"syscalls\":[" RULE "}]}"
					    : ALLOW ",\"syscalls\":[]}");
	}
}

static void test_one_name(void **state)
{
	check(ALLOW ",\"syscalls\":[{\"name\":\"mkdir\",\"action\":\"X\",\"comment\":\"c\"}]}",
		ALLOW ",\"syscalls\":[{\"action\":\"X\",\"names\":[\"mkdir\"]}]}");
}

static void test_what_is_refused(void **state)
{
	static const char *const bad[] = {"", "{", "[]", "7", "{} x", "{}",
		"{\"defaultAction\":null}", ALLOW ",\"syscalls\":{}}",
		ALLOW ",\"syscalls\":[null]}", ALLOW ",\"syscalls\":[[]]}",
		ALLOW ",\"syscalls\":[{\"action\":\"X\"}]}",
		ALLOW ",\"syscalls\":[{\"names\":[]}]}",
		ALLOW ",\"syscalls\":[{\"names\":7,\"action\":\"X\"}]}",
		ALLOW ",\"architectures\":[],\"archMap\":[]}"};

	for (size_t i = 0; i < array_size(bad); i++) {
		assert_null(made(bad[i]));
		assert_non_null(strstr(fault_text(), "--security-opt"));
		assert_non_null(strstr(fault_text(), path));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_oci_stays_as_it_is),
		cmocka_unit_test(test_conditions),
		cmocka_unit_test(test_one_name),
		cmocka_unit_test(test_what_is_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
