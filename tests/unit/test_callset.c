/* sources: shim/launch/callset.c seccomp */
/* The short filter must answer every call as libseccomp's own does: both are run, instruction by
 * instruction, for every number of interest. */
#include "shim/launch/callset.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#define NUMBERS 700
#define ROUNDS	200

static uint32_t word(const struct seccomp_data *d, uint32_t at)
{
	uint32_t w;

	assert_true(at + sizeof(w) <= sizeof(*d));
	memcpy(&w, (const char *)d + at, sizeof(w));
	return w;
}

/* What the kernel would answer: the instructions that the two compilers use. */
static uint32_t answer(const struct sock_filter *f, size_t n, const struct seccomp_data *d)
{
	uint32_t a = 0;

	for (size_t at = 0; at < n; at++) {
		const struct sock_filter *i = &f[at];
		bool yes = false;

		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			a = word(d, i->k);
			continue;
		case BPF_RET | BPF_K:
			return i->k;
		case BPF_JMP | BPF_JA:
			at += i->k;
			continue;
		case BPF_JMP | BPF_JEQ | BPF_K:
			yes = a == i->k;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			yes = a >= i->k;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			yes = a > i->k;
			break;
		default:
			fail_msg("instruction %#x", i->code);
		}
		at += yes ? i->jt : i->jf;
	}
	fail_msg("ran off the end");
	return 0;
}

struct pair {
	struct callset set;
	scmp_filter_ctx ctx;
	struct sock_filter ours[CALLSET_PROGRAM], theirs[4096];
	int ours_len;
	size_t theirs_len;
};

static void pair_begin(struct pair *p, uint32_t otherwise)
{
	memset(p, 0, sizeof(*p));
	p->set.otherwise = otherwise;
	p->set.arch = seccomp_arch_native();
	p->ctx = seccomp_init(otherwise);
	assert_non_null(p->ctx);
}

static void pair_add(struct pair *p, int nr, uint32_t action)
{
	assert_int_equal(callset_add(&p->set, (uint32_t)nr, action), 0);
	if (action != p->set.otherwise)
		seccomp_rule_add(p->ctx, action, nr, 0); /* a second one of a call is refused */
}

static void pair_end(struct pair *p)
{
	int fd = memfd_create("filter", MFD_CLOEXEC);
	ssize_t n;

	assert_int_equal(seccomp_export_bpf(p->ctx, fd), 0);
	n = pread(fd, p->theirs, sizeof(p->theirs), 0);
	assert_true(n > 0);
	p->theirs_len = (size_t)n / sizeof(p->theirs[0]);
	close(fd);
	seccomp_release(p->ctx);
	p->ours_len = callset_compile(&p->set, p->ours);
}

static void same(const struct pair *p, uint32_t arch, uint32_t nr)
{
	struct seccomp_data d = {.nr = (int)nr, .arch = arch};
	uint32_t ours = answer(p->ours, (size_t)p->ours_len, &d);
	uint32_t theirs = answer(p->theirs, p->theirs_len, &d);

	if (ours != theirs)
		fail_msg("arch %#x, call %u: %#x, libseccomp says %#x", arch, nr, ours, theirs);
}

static void same_everywhere(const struct pair *p)
{
	static const uint32_t odd[] = {
		0x3fffffff, 0x40000000, 0x40000001, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};

	assert_true(p->ours_len > 0);
	for (uint32_t nr = 0; nr < NUMBERS; nr++)
		same(p, seccomp_arch_native(), nr);
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		same(p, seccomp_arch_native(), odd[i]);
	same(p, AUDIT_ARCH_I386, 1);
	same(p, AUDIT_ARCH_ARM, 1);
}

static void test_answers_as_libseccomp_does(void **state)
{
	static const uint32_t actions[] = {SCMP_ACT_ALLOW, SCMP_ACT_ERRNO(1), SCMP_ACT_ERRNO(38),
		SCMP_ACT_KILL_PROCESS, SCMP_ACT_KILL_THREAD, SCMP_ACT_TRAP, SCMP_ACT_LOG,
		SCMP_ACT_TRACE(7)};
	static struct pair p;

	srandom(1);
	for (int round = 0; round < ROUNDS; round++) {
		int rules = 1 + (int)(random() % 60), kinds = 1 + (int)(random() % 3);

		pair_begin(&p, actions[random() % 8]);
		for (int i = 0; i < rules; i++) {
			uint32_t action = actions[random() % kinds];

			if (action != p.set.otherwise)
				pair_add(&p, (int)(random() % 440), action);
		}
		pair_end(&p);
		if (p.set.len > 0)
			same_everywhere(&p);
	}
}

static void test_a_usual_list(void **state)
{
	static struct pair p;

	pair_begin(&p, SCMP_ACT_ERRNO(1));
	for (int nr = 0; nr < 450; nr++)
		if (nr % 7 != 3 && !(nr >= 335 && nr < 424))
			pair_add(&p, nr, SCMP_ACT_ALLOW);
	pair_end(&p);
	same_everywhere(&p);
	assert_true((size_t)p.ours_len < p.theirs_len);
}

static void test_what_it_does_not_do(void **state)
{
	static struct callset s;
	static struct sock_filter f[CALLSET_PROGRAM];

	s = (struct callset){.otherwise = SCMP_ACT_ALLOW, .arch = seccomp_arch_native()};
	for (uint32_t nr = 0; nr < 2 * CALLSET_MAX; nr += 2)
		assert_int_equal(callset_add(&s, nr, SCMP_ACT_ERRNO(nr % 4000)), 0);
	assert_int_equal(callset_add(&s, 1, SCMP_ACT_ALLOW), -E2BIG);
	assert_int_equal(callset_compile(&s, f), -E2BIG);
}

static void test_no_rule_at_all(void **state)
{
	static struct callset s;
	static struct sock_filter f[CALLSET_PROGRAM];
	struct seccomp_data d = {.nr = 5, .arch = seccomp_arch_native()};
	int n;

	s = (struct callset){.otherwise = SCMP_ACT_ERRNO(1), .arch = seccomp_arch_native()};
	n = callset_compile(&s, f);
	assert_true(n > 0);
	assert_int_equal(answer(f, (size_t)n, &d), SCMP_ACT_ERRNO(1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers_as_libseccomp_does),
		cmocka_unit_test(test_a_usual_list),
		cmocka_unit_test(test_what_it_does_not_do),
		cmocka_unit_test(test_no_rule_at_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
