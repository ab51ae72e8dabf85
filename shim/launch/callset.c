#include "shim/launch/callset.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <stdlib.h>

#define X32_BIT	 0x40000000u /* x86_64: such calls are another architecture's */
#define NO_CALL	 0xffffffffu /* what a tracer writes to skip a call */
#define JUMP_MAX 255u	     /* jt and jf are one byte */

/* From `first` to the next range's: what becomes of them. */
struct range {
	uint32_t first, action;
};

struct program {
	struct sock_filter *code;
	unsigned len;
	int err;
};

int callset_add(struct callset *s, uint32_t nr, uint32_t action)
{
	if (s->len == CALLSET_MAX)
		return -E2BIG;
	s->rules[s->len] = (struct callset_rule){nr, action, s->len};
	s->len++;
	return 0;
}

static int by_number(const void *a, const void *b)
{
	const struct callset_rule *x = a, *y = b;

	if (x->nr != y->nr)
		return x->nr < y->nr ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

static void range_add(struct range *r, unsigned *n, uint32_t first, uint32_t action)
{
	if (*n > 0 && r[*n - 1].action == action)
		return;
	if (*n > 0 && r[*n - 1].first == first)
		r[*n - 1].action = action;
	else
		r[(*n)++] = (struct range){first, action};
}

/* All numbers, without holes. */
static unsigned ranges(const struct callset *s, struct range *r)
{
	unsigned n = 0;
	uint32_t next = 0;

	for (uint32_t i = 0; i < s->len; i++) {
		uint32_t nr = s->rules[i].nr;

		if (nr >= X32_BIT || (i > 0 && nr == s->rules[i - 1].nr))
			continue;
		if (nr > next || n == 0)
			range_add(r, &n, next, nr > next ? s->otherwise : s->rules[i].action);
		range_add(r, &n, nr, s->rules[i].action);
		next = nr + 1;
	}
	range_add(r, &n, next, s->otherwise);
	range_add(r, &n, X32_BIT, SECCOMP_RET_KILL_THREAD);
	range_add(r, &n, NO_CALL, s->otherwise);
	return n;
}

static void emit(struct program *p, struct sock_filter f)
{
	if (p->len < CALLSET_PROGRAM)
		p->code[p->len++] = f;
	else
		p->err = -E2BIG;
}

/* Depth is the logarithm of the number of ranges. */
static void search(struct program *p, const struct range *r, unsigned n)
{
	unsigned half = n / 2, at = p->len, over;

	if (n == 1) {
		emit(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, r->action));
		return;
	}
	emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, r[half].first, 0, 0));
	search(p, r, half);
	over = p->len - at - 1;
	if (p->err || over > JUMP_MAX) {
		p->err = -E2BIG;
		return;
	}
	p->code[at].jt = (uint8_t)over;
	search(p, r + half, n - half);
}

int callset_compile(struct callset *s, struct sock_filter *f)
{
	static struct range r[2 * CALLSET_MAX + 4];
	struct program p = {.code = f};

	qsort(s->rules, s->len, sizeof(s->rules[0]), by_number);
	emit(&p, (struct sock_filter)BPF_STMT(
			 BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)));
	emit(&p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, s->arch, 1, 0));
	emit(&p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_THREAD));
	emit(&p, (struct sock_filter)BPF_STMT(
			 BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
	search(&p, r, ranges(s, r));
	return p.err ? p.err : (int)p.len;
}
