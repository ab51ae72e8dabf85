#include "shim/launch/devrules.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/file.h"
#include "ipc/base/mem.h"
#include "shim/launch/launch.h"

#define INSNS_MAX 2048

/* null zero full random urandom tty ptmx and the terminals of devpts; any node may be made, since
 * making one opens nothing. */
static const struct sandbox_devrule always[] = {
	{-1, -1, 'c', DEV_MKNOD, 1, 0},
	{-1, -1, 'b', DEV_MKNOD, 1, 0},
	{1, 3, 'c', DEV_ALL, 1, 0},
	{1, 5, 'c', DEV_ALL, 1, 0},
	{1, 7, 'c', DEV_ALL, 1, 0},
	{1, 8, 'c', DEV_ALL, 1, 0},
	{1, 9, 'c', DEV_ALL, 1, 0},
	{5, 0, 'c', DEV_ALL, 1, 0},
	{5, 2, 'c', DEV_ALL, 1, 0},
	{136, -1, 'c', DEV_ALL, 1, 0},
};

struct program {
	struct bpf_insn insn[INSNS_MAX];
	int n;
};

static void emit(struct program *p, unsigned code, unsigned dst, unsigned src, int off, int imm)
{
	if (p->n >= INSNS_MAX)
		return; /* found by the caller */
	p->insn[p->n++] = (struct bpf_insn){.code = (unsigned char)code,
		.dst_reg = dst & 15u,
		.src_reg = src & 15u,
		.off = (short)off,
		.imm = imm};
}

/* r2 type, r3 access wanted, r4 major, r5 minor (struct bpf_cgroup_dev_ctx). */
static void head(struct program *p)
{
	emit(p, BPF_LDX | BPF_MEM | BPF_W, 2, 1, 0, 0);
	emit(p, BPF_ALU64 | BPF_MOV | BPF_X, 3, 2, 0, 0);
	emit(p, BPF_ALU64 | BPF_AND | BPF_K, 2, 0, 0, 0xffff);
	emit(p, BPF_ALU64 | BPF_RSH | BPF_K, 3, 0, 0, 16);
	emit(p, BPF_LDX | BPF_MEM | BPF_W, 4, 1, 4, 0);
	emit(p, BPF_LDX | BPF_MEM | BPF_W, 5, 1, 8, 0);
}

/* An allow rule must grant all that is wanted; a deny rule hits when any of it is denied. */
static void rule(struct program *p, const struct sandbox_devrule *d)
{
	int skip[4], n = 0;

	if (d->type != 'a') {
		skip[n++] = p->n;
		emit(p, BPF_JMP | BPF_JNE | BPF_K, 2, 0, 0,
			d->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
	}
	if (d->access != DEV_ALL) {
		emit(p, BPF_ALU64 | BPF_MOV | BPF_X, 1, 3, 0, 0);
		emit(p, BPF_ALU64 | BPF_AND | BPF_K, 1, 0, 0,
			(int)(d->allow ? DEV_ALL & ~d->access : d->access));
		skip[n++] = p->n;
		emit(p, BPF_JMP | (d->allow ? BPF_JNE : BPF_JEQ) | BPF_K, 1, 0, 0, 0);
	}
	if (d->major >= 0) {
		skip[n++] = p->n;
		emit(p, BPF_JMP | BPF_JNE | BPF_K, 4, 0, 0, (int)d->major);
	}
	if (d->minor >= 0) {
		skip[n++] = p->n;
		emit(p, BPF_JMP | BPF_JNE | BPF_K, 5, 0, 0, (int)d->minor);
	}
	emit(p, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, d->allow != 0);
	emit(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	for (int i = 0; i < n && p->n < INSNS_MAX; i++)
		p->insn[skip[i]].off = (short)(p->n - skip[i] - 1);
}

static int load(struct program *p)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	attr.insns = (uint64_t)(uintptr_t)p->insn;
	attr.insn_cnt = (uint32_t)p->n;
	attr.license = (uint64_t)(uintptr_t) "Apache-2.0";
	return (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
}

/* Newest rule first: the program leaves at the first match. A blanket rule ends the list, nothing
 * behind it could be reached, which the verifier refuses as dead code. */
static void compile(struct launch *l, struct program *p)
{
	const struct sandbox_devrule *d = sandbox_range(l->sb, l->sb->devrules, sizeof(*d));
	bool blanket = false;

	p->n = 0;
	head(p);
	for (uint32_t i = l->sb->devrules.count; i-- > 0 && !blanket;) {
		blanket = d[i].type == 'a';
		if (blanket && !d[i].allow)
			break; /* the end of the program says so */
		rule(p, &d[i]);
		if (blanket)
			return;
	}
	for (size_t i = 0; i < array_size(always); i++)
		rule(p, &always[i]);
	emit(p, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	emit(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

int devrules_attach(struct launch *l, int group)
{
	static struct program p;
	union bpf_attr attr;
	auto_fd prog = -1;

	compile(l, &p);
	if (p.n >= INSNS_MAX)
		return fault_plain(-E2BIG, "linux.resources.devices: too many rules");
	prog = load(&p);
	if (prog < 0)
		return DEVRULES_NO_BPF;
	memset(&attr, 0, sizeof(attr));
	attr.target_fd = (uint32_t)group;
	attr.attach_bpf_fd = (uint32_t)prog;
	attr.attach_type = BPF_CGROUP_DEVICE;
	attr.attach_flags = BPF_F_ALLOW_MULTI;
	return syscall(SYS_bpf, BPF_PROG_ATTACH, &attr, sizeof(attr)) == 0 ? 0 : DEVRULES_NO_BPF;
}

static int write_rule(int group, const struct sandbox_devrule *d)
{
	char major[24] = "*", minor[24] = "*", access[4] = "";
	size_t n = 0;

	if (d->type == 'a')
		return file_write(group, d->allow ? "devices.allow" : "devices.deny", "a");
	if (d->major >= 0)
		snprintf(major, sizeof(major), "%lld", (long long)d->major);
	if (d->minor >= 0)
		snprintf(minor, sizeof(minor), "%lld", (long long)d->minor);
	for (int i = 0; i < 3; i++)
		if (d->access >> i & 1)
			access[n++] = "mrw"[i];
	return file_writef(group, d->allow ? "devices.allow" : "devices.deny", "%c %s:%s %s",
		(int)d->type, major, minor, access);
}

int devrules_write(struct launch *l, int group)
{
	const struct sandbox_devrule *d = sandbox_range(l->sb, l->sb->devrules, sizeof(*d));
	int r = file_write(group, "devices.deny", "a");

	for (size_t i = 0; r == 0 && i < array_size(always); i++)
		r = write_rule(group, &always[i]);
	for (uint32_t i = 0; r == 0 && i < l->sb->devrules.count; i++)
		if (d[i].type != 'a' || d[i].allow) /* the blanket denial stands already */
			r = write_rule(group, &d[i]);
	return r;
}
