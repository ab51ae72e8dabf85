/* sources: cli/opt_mounts.c cli/options.c cli/keys.c cli/files.c cli/spec.c cli/devices.c ipc */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/opt_mounts.h"
#include "cli/run_options.h"
#include "ipc/base/fault.h"
#include "ipc/base/mem.h"

static const struct option row = {"mount", 0, "X", "", opt_mount, 0};

/* "type source target options" of the one mount that the value means. */
static void means(const char *value, const char *expected)
{
	static struct run run;
	const struct spec_mount *m;
	char text[512];

	assert_int_equal(opt_mount(&run, &row, value), 0);
	assert_int_equal(run.spec.mounts.len, 1);
	m = run.spec.mounts.items;
	snprintf(text, sizeof(text), "%s %s %s %s", m->type, m->source, m->target, m->options);
	assert_string_equal(text, expected);
	spec_finish(&run.spec);
}

static void test_words(void **state)
{
	means("type=bind,source=/etc,target=/mnt", "bind /etc /mnt rbind,rprivate,nosuid,nodev,rw");
	means("type=bind,src=/etc,dst=/mnt,ro", "bind /etc /mnt rbind,rprivate,nosuid,nodev,ro");
	means("readonly=true,destination=/mnt,src=/etc,type=bind",
		"bind /etc /mnt rbind,rprivate,nosuid,nodev,ro");
	means("type=bind,src=/etc,dst=/mnt,ro=0,bind-propagation=private,consistency=cached",
		"bind /etc /mnt rbind,rprivate,nosuid,nodev,rw");
	means("type=bind,src=/etc,dst=/mnt,bind-recursive=disabled",
		"bind /etc /mnt bind,rprivate,nosuid,nodev,rw");
	means("type=bind,src=/etc,dst=/mnt,bind-nonrecursive",
		"bind /etc /mnt bind,rprivate,nosuid,nodev,rw");
	means("type=tmpfs,target=/t", "tmpfs tmpfs /t nosuid,nodev,noexec,rw");
	means("type=tmpfs,target=/t,tmpfs-size=16m,tmpfs-mode=700,ro",
		"tmpfs tmpfs /t nosuid,nodev,noexec,ro,size=16777216,mode=0700");
}

static void test_quotes(void **state)
{
	means("type=bind,src=/etc,\"dst=/a,b\"", "bind /etc /a,b rbind,rprivate,nosuid,nodev,rw");
	means("\"type=tmpfs\",\"target=/say \"\"hi\"\"\"",
		"tmpfs tmpfs /say \"hi\" nosuid,nodev,noexec,rw");
}

static void test_refusals(void **state)
{
	static const struct {
		const char *value, *word;
	} bad[] = {
		{"", "no such key"},
		{"type=bind,src=/etc,dst=/mnt,", "no such key"},
		{"type=bind,src=/etc,dst=/mnt,color=red", "color"},
		{"type=volume,src=x,dst=/mnt", "type=volume"},
		{"type=npipe", "npipe"},
		{"src=/etc,dst=/mnt", "type is missing"},
		{"type=bind,dst=/mnt", "source is missing"},
		{"type=bind,src=/etc", "target is missing"},
		{"type=bind,src=etc,dst=/mnt", "src: not"},
		{"type=bind,src=/etc,dst=mnt", "dst"},
		{"type=bind,src=/etc,dst=/", "below /"},
		{"type=bind,src=/etc,dst=/a/../b", "dst"},
		{"type=bind,src=/no/such/thing,dst=/mnt", "does not exist"},
		{"type=bind,src=/etc,dst", "needs a value"},
		{"type=bind,src=/etc,dst=/mnt,ro=maybe", "maybe"},
		{"type=bind,src=/etc,dst=/mnt,bind-propagation=rslave", "rslave"},
		{"type=bind,src=/etc,dst=/mnt,bind-recursive=yes", "bind-recursive=yes"},
		{"type=bind,src=/etc,dst=/mnt,tmpfs-size=1m", "tmpfs-size"},
		{"type=tmpfs,src=/etc,dst=/mnt", "src has no meaning"},
		{"type=tmpfs,dst=/mnt,bind-propagation=private", "bind-propagation"},
		{"type=tmpfs,dst=/mnt,tmpfs-size=0", "tmpfs-size=0"},
		{"type=tmpfs,dst=/mnt,tmpfs-size=12Q", "12Q"},
		{"type=tmpfs,dst=/mnt,tmpfs-mode=999", "999"},
		{"type=tmpfs,dst=/mnt,tmpfs-mode=", "tmpfs-mode"},
		{"type=tmpfs,dst=/mnt,tmpfs-mode=17777", "17777"},
		{"type=tmpfs,\"dst=/mnt", "quote"},
		{"type=tmpfs,\"dst=/mnt\"x", "quote"},
	};
	struct run run = {.create = false};

	for (size_t i = 0; i < array_size(bad); i++) {
		assert_int_equal(opt_mount(&run, &row, bad[i].value), -EINVAL);
		assert_int_equal(run.spec.mounts.len, 0);
		assert_non_null(strstr(fault_text(), "--mount"));
		assert_non_null(strstr(fault_text(), bad[i].word));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_quotes),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
