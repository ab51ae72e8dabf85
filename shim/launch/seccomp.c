/* The service's system call filter as BPF, from config.json's linux.seccomp or from our own table.
 * Ours: allow list, native architecture only, EPERM by default, ENOSYS for what is newer than the
 * table and for clone3 (its flags lie behind a pointer that a filter can't follow), so that
 * libraries fall back. The kernel looks at the low half of int arguments only, so 32-bit ones are
 * compared masked or exactly, never by ranges. */
#include <seccomp.h>

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/mem.h"
#include "shim/launch/bundle.h"
#include "shim/launch/seccomp_table.h"

#define LOW32	   0xffffffffu
#define FILTER_MAX 4096u /* instructions: the kernel's own limit */
#define ARG_LOW(i)                                                  \
	((unsigned)offsetof(struct seccomp_data, args) + 8u * (i) + \
		(__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4u : 0u))
#define LOAD(off)	  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)(off))
#define RET(what)	  BPF_STMT(BPF_RET | BPF_K, (what))
#define EQUAL(k, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)(k), (yes), (no))

static int rule_fault(int err, const char *name)
{
	return fault(err, "seccomp filter: rule for %s", name);
}

static int allow(scmp_filter_ctx ctx, const char *name, int number)
{
	int nr = seccomp_syscall_resolve_name(name);
	int r;

	if (nr == __NR_SCMP_ERROR)
		nr = number;
	if (nr < 0)
		return 0; /* this architecture has no such call */
	r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 0);
	return r == 0 || r == -EEXIST ? 0 : rule_fault(r, name);
}

static int allow_eq(scmp_filter_ctx ctx, const char *name, const unsigned *values, size_t n)
{
	int nr = seccomp_syscall_resolve_name(name), r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = seccomp_rule_add(
			ctx, SCMP_ACT_ALLOW, nr, 1, SCMP_A0(SCMP_CMP_EQ, (uint64_t)values[i]));
	return r == 0 ? 0 : rule_fault(r, name);
}

/* What is allowed for some arguments only. */
static int allow_some(scmp_filter_ctx ctx, uint64_t caps)
{
	static const unsigned personalities[] = {0, 8, 0x20000, 0x20008, LOW32};
	static const unsigned families[] = {AF_UNIX, AF_INET, AF_INET6, AF_PACKET};
	static const uint64_t new_ns = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
				       CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
	size_t n = array_size(families) - !(caps >> CAP_NET_RAW & 1);
	int r = allow_eq(ctx, "personality", personalities, array_size(personalities));

	if (r == 0)
		r = allow_eq(ctx, "socket", families, n);
	if (r < 0)
		return r;
	r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
		SCMP_A0(SCMP_CMP_EQ, AF_NETLINK), SCMP_A2(SCMP_CMP_EQ, 0));
	if (r < 0)
		return rule_fault(r, "socket(AF_NETLINK)");
	if (caps >> CAP_SYS_ADMIN & 1)
		return allow(ctx, "clone", -1);
	r = seccomp_rule_add(
		ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, new_ns, 0));
	return r < 0 ? rule_fault(r, "clone") : 0;
}

static int default_rules(scmp_filter_ctx ctx, uint64_t caps)
{
	int r = allow(ctx, "ioctl", -1);

	for (size_t i = 0; r == 0 && i < array_size(seccomp_always); i++)
		r = allow(ctx, seccomp_always[i].name, seccomp_always[i].number);
	for (size_t i = 0; r == 0 && i < array_size(seccomp_with_cap); i++)
		if (caps >> seccomp_with_cap[i].cap & 1)
			r = allow(ctx, seccomp_with_cap[i].name, -1);
	return r == 0 ? allow_some(ctx, caps) : r;
}

/* Stands before libseccomp's program: what an allow list can't say by itself. Falls through to it
 * with everything that is not decided here. */
static const struct sock_filter *prologue(size_t *n)
{
	static struct sock_filter code[] = {
		/*  0 */ LOAD(offsetof(struct seccomp_data, arch)),
		/*  1 */ EQUAL(0, 1, 0), /* k: the native architecture, below */
		/*  2 */ RET(SECCOMP_RET_KILL_PROCESS),
		/*  3 */ LOAD(offsetof(struct seccomp_data, nr)),
		/*  4: x32 calls carry bit 30 */
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000u, 0, 1),
		/*  5 */ RET(SECCOMP_RET_KILL_PROCESS),
		/*  6 */ BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, SECCOMP_NEWEST, 1, 0),
		/*  7 */ EQUAL(SYS_clone3, 0, 1),
		/*  8 */ RET(SECCOMP_RET_ERRNO | ENOSYS),
		/*  9 */ EQUAL(SYS_ioctl, 2, 0),
		/* 10 */ EQUAL(SYS_prctl, 5, 0),
		/* 11 */ BPF_STMT(BPF_JMP | BPF_JA, 7),
		/* 12: pushing input into a terminal, or the console's powers */
		LOAD(ARG_LOW(1)),
		/* 13 */ EQUAL(TIOCSTI, 4, 0),
		/* 14 */ EQUAL(TIOCLINUX, 3, 0),
		/* 15 */ EQUAL(TIOCCONS, 2, 3),
		/* 16 */ LOAD(ARG_LOW(0)),
		/* 17 */ EQUAL(PR_SET_MM, 0, 1),
		/* 18 */ RET(SECCOMP_RET_ERRNO | EPERM),
	};

	code[1].k = seccomp_arch_native();
	*n = array_size(code);
	return code;
}

/* seccomp_export_bpf() wants a file. */
static int export(struct bundle *b, scmp_filter_ctx ctx, bool with_prologue)
{
	struct sock_filter f[FILTER_MAX];
	size_t n = 0;
	ssize_t got;
	auto_fd fd = -1;
	int r;

	if (with_prologue) {
		const struct sock_filter *p = prologue(&n);

		memcpy(f, p, n * sizeof(*f));
	}
	fd = memfd_create("filter", MFD_CLOEXEC);
	if (fd < 0)
		return fault(-errno, "seccomp filter: memfd");
	r = seccomp_export_bpf(ctx, fd);
	if (r < 0)
		return fault(r, "seccomp filter: export");
	got = pread(fd, f + n, (FILTER_MAX - n) * sizeof(*f), 0);
	if (got <= 0 || (size_t)got % sizeof(*f) || lseek(fd, 0, SEEK_END) != got)
		return fault_plain(-E2BIG,
			"config.json: linux.seccomp: longer than the kernel's "
			"%u instructions (use fewer rules)",
			FILTER_MAX);
	n += (size_t)got / sizeof(*f);
	b->plan.filter = blob_add(&b->plan_blob, f, n * sizeof(*f), n);
	return 0;
}

static int compile_default(struct bundle *b)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int r;

	if (!ctx)
		return fault(-ENOMEM, "seccomp filter");
	r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	r = r < 0 ? fault(r, "seccomp filter: optimize")
		  : default_rules(ctx, b->plan.caps.bounding);
	if (r == 0)
		r = export(b, ctx, true);
	seccomp_release(ctx);
	/* The table has every call of holdfast-init in it (but clone3, which it does without). */
	b->plan.flags |= PLAN_FILTER_ONCE;
	return r;
}

static int action(const struct node *n, const char *key, const char *errno_key, uint32_t *ret)
{
	static const struct {
		const char *name;
		uint32_t action;
	} actions[] = {
		{"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW},
		{"SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(0)},
		{"SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD},
		{"SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD},
		{"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS},
		{"SCMP_ACT_TRAP", SCMP_ACT_TRAP},
		{"SCMP_ACT_TRACE", SCMP_ACT_TRACE(0)},
		{"SCMP_ACT_LOG", SCMP_ACT_LOG},
	};
	uint64_t err = EPERM;
	const char *s = "";

	if (node_string(n, key, &s) < 0 || node_uint(n, errno_key, 0, 4095, &err) < 0)
		return -EINVAL;
	for (size_t i = 0; i < array_size(actions); i++) {
		if (strcmp(s, actions[i].name) != 0)
			continue;
		*ret = actions[i].action;
		if (*ret == SCMP_ACT_ERRNO(0) || *ret == SCMP_ACT_TRACE(0))
			*ret |= (uint32_t)err;
		return 0;
	}
	return node_fault(n, key,
		"\"%.40s\": not supported (use SCMP_ACT_ALLOW, SCMP_ACT_ERRNO, "
		"SCMP_ACT_KILL_PROCESS, …)",
		s);
}

static int architectures(const struct node *seccomp, scmp_filter_ctx ctx)
{
	struct node list;
	int r = node_array(seccomp, "architectures", &list);

	for (size_t i = 0; r == 1 && i < node_count(&list); i++) {
		char low[24] = "";
		const char *s;
		uint32_t arch;

		if (node_string_at(&list, i, &s) < 0)
			return -EINVAL;
		if (strncmp(s, "SCMP_ARCH_", 10) == 0)
			for (size_t k = 0; s[10 + k] && k < sizeof(low) - 1; k++)
				low[k] = (char)(s[10 + k] |
						(s[10 + k] >= 'A' && s[10 + k] <= 'Z') * 32);
		arch = seccomp_arch_resolve_name(low);
		if (!arch)
			return node_fault(&list, NULL, "\"%.40s\": no such architecture", s);
		r = seccomp_arch_add(ctx, arch);
		if (r < 0 && r != -EEXIST)
			return rule_fault(r, s);
		r = 1;
	}
	return r < 0 ? r : 0;
}

static int compare(const struct node *n, struct scmp_arg_cmp *ret)
{
	static const struct {
		const char *name;
		enum scmp_compare op;
	} ops[] = {
		{"SCMP_CMP_NE", SCMP_CMP_NE},
		{"SCMP_CMP_LT", SCMP_CMP_LT},
		{"SCMP_CMP_LE", SCMP_CMP_LE},
		{"SCMP_CMP_EQ", SCMP_CMP_EQ},
		{"SCMP_CMP_GE", SCMP_CMP_GE},
		{"SCMP_CMP_GT", SCMP_CMP_GT},
		{"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ},
	};
	uint64_t index = 0, value = 0, two = 0;
	const char *op = "";

	if (node_uint(n, "index", 0, 5, &index) < 0 ||
		node_uint(n, "value", 0, UINT64_MAX, &value) < 0 ||
		node_uint(n, "valueTwo", 0, UINT64_MAX, &two) < 0 || node_string(n, "op", &op) < 0)
		return -EINVAL;
	for (size_t i = 0; i < array_size(ops); i++) {
		if (strcmp(op, ops[i].name) != 0)
			continue;
		*ret = (struct scmp_arg_cmp){(unsigned)index, ops[i].op, value, two};
		return 0;
	}
	return node_fault(n, "op", "\"%.40s\": no such comparison", op);
}

/* Several comparisons of one argument are alternatives, as other runtimes read them: one rule each.
 */
static int add_rules(
	scmp_filter_ctx ctx, uint32_t act, int nr, const struct scmp_arg_cmp *args, unsigned n)
{
	unsigned seen = 0;
	bool twice = false;
	int r = 0;

	for (unsigned i = 0; i < n; i++) {
		twice |= (seen >> args[i].arg & 1) != 0;
		seen |= 1u << args[i].arg;
	}
	if (!twice)
		return seccomp_rule_add_array(ctx, act, nr, n, args);
	for (unsigned i = 0; (r == 0 || r == -EEXIST) && i < n; i++)
		r = seccomp_rule_add_array(ctx, act, nr, 1, &args[i]);
	return r;
}

static int calls(const struct node *rule, scmp_filter_ctx ctx, uint32_t def)
{
	struct scmp_arg_cmp args[6];
	struct node names, list, one;
	uint32_t act = 0;
	size_t n = 0;
	int r = action(rule, "action", "errnoRet", &act);

	if (r == 0)
		r = node_array(rule, "args", &list);
	n = r == 1 ? node_count(&list) : 0;
	if (n > array_size(args))
		return node_fault(&list, NULL, "%zu comparisons, at most 6", n);
	for (size_t i = 0; i < n; i++)
		if (node_object_at(&list, i, &one) < 0 || compare(&one, &args[i]) < 0)
			return -EINVAL;
	if (r < 0 || (r = node_array(rule, "names", &names)) < 0 || act == def)
		return r < 0 ? r : 0; /* the default action by another name */
	for (size_t i = 0; r == 1 && i < node_count(&names); i++) {
		const char *s;
		int nr, k;

		if (node_string_at(&names, i, &s) < 0)
			return -EINVAL;
		nr = seccomp_syscall_resolve_name(s);
		if (nr == __NR_SCMP_ERROR)
			continue; /* a call that this library or architecture does not know */
		k = add_rules(ctx, act, nr, args, (unsigned)n);
		if (k < 0 && k != -EEXIST)
			return rule_fault(k, s);
	}
	return r < 0 ? r : 0;
}

static int refuse_extras(struct bundle *b, const struct node *seccomp)
{
	const char *listener = "";
	struct node flags;
	int r;

	if (node_string(seccomp, "listenerPath", &listener) < 0)
		return -EINVAL;
	if (listener[0])
		return node_fault(
			seccomp, "listenerPath", "user notification is not supported (remove it)");
	r = node_array(seccomp, "flags", &flags);
	if (r == 1 && node_count(&flags) > 0)
		bundle_warn(b, "config.json: linux.seccomp.flags: ignored");
	return r < 0 ? r : 0;
}

static int compile_config(struct bundle *b, const struct node *seccomp)
{
	scmp_filter_ctx ctx;
	struct node list, one;
	uint32_t def = 0;
	int r = refuse_extras(b, seccomp);

	if (r == 0)
		r = action(seccomp, "defaultAction", "defaultErrnoRet", &def);
	if (r < 0)
		return r;
	ctx = seccomp_init(def);
	if (!ctx)
		return fault(-ENOMEM, "seccomp filter");
	r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r == 0)
		r = architectures(seccomp, ctx);
	if (r == 0)
		r = node_array(seccomp, "syscalls", &list);
	for (size_t i = 0; r == 1 && i < node_count(&list); i++)
		if (node_object_at(&list, i, &one) < 0 || calls(&one, ctx, def) < 0)
			r = -EINVAL;
	if (r >= 0)
		r = export(b, ctx, false);
	seccomp_release(ctx);
	return r;
}

/* In place restarts load the filter anew in each child of init, and loading one without
 * no_new_privs takes CAP_SYS_ADMIN, which init gave up. One that lets init itself work is loaded
 * before that, once. */
static int nnp_rule(struct bundle *b)
{
	struct node process = {.name = "process"};

	if (b->plan.filter.count == 0 || (b->plan.flags & (PLAN_NO_NEW_PRIVS | PLAN_FILTER_ONCE)) ||
		(b->set->flags & SETTINGS_NO_INIT))
		return 0;
	return node_fault(&process, "noNewPrivileges",
		"false together with a seccomp filter of its own needs the service to be PID 1 "
		"itself (set it to true, or use --init none)");
}

int bundle_seccomp(struct bundle *b)
{
	struct node linux_, seccomp;
	int r = node_object(&b->root, "linux", &linux_);

	if (r == 1)
		r = node_object(&linux_, "seccomp", &seccomp);
	if (r < 0)
		return r;
	if (r == 1)
		r = compile_config(b, &seccomp);
	else if (b->set->flags & SETTINGS_DEFAULT_SECCOMP)
		r = compile_default(b);
	return r < 0 ? r : nnp_rule(b);
}
