#include "ipc/exec_view.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PAGE 4096u

static size_t whole_pages(size_t n)
{
	return (n + PAGE - 1) / PAGE * PAGE;
}

static bool range_ok(const struct exec_plan *x, struct plan_range r, uint32_t elem)
{
	if (r.count == 0 && r.len == 0)
		return true;
	return plan_range_in(x, sizeof(*x), x->size, r, elem) != NULL;
}

static bool sound(const struct exec_plan *x, size_t size)
{
	if (x->magic != EXEC_PLAN_MAGIC || x->version != EXEC_PLAN_VERSION ||
		x->size < sizeof(*x) || x->size > size)
		return false;
	if (x->argv.count == 0 || (x->flags & EXEC_CWD && x->cwd.count != 1))
		return false;
	return range_ok(x, x->argv, 1) && range_ok(x, x->env, 1) && range_ok(x, x->env_else, 1) &&
	       range_ok(x, x->cwd, 1) && range_ok(x, x->groups, sizeof(uint32_t));
}

/* Its size, or -errno. The seals make sure that it stays as it is checked. */
static long sealed_size(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	if (seals < 0 || !(seals & F_SEAL_SHRINK) || !(seals & F_SEAL_WRITE))
		return -EPERM;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size < (off_t)sizeof(struct exec_plan) || st.st_size > EXEC_PLAN_SIZE_MAX)
		return -EINVAL;
	return (long)st.st_size;
}

static struct plan_range moved(struct plan_range r, size_t by)
{
	r.off += (uint32_t)by;
	return r;
}

/* Root gets what the container may have at most; anybody else the little that the service's own
 * user would be left with. The bounding set is never touched. */
static void caps_for(struct plan_caps *caps, uint32_t uid)
{
	if (uid == 0)
		caps->permitted = caps->effective = caps->bounding;
	else
		caps->permitted = caps->effective = caps->ambient;
	caps->inheritable = uid ? caps->ambient : 0;
	caps->ambient = uid ? caps->ambient : 0;
}

static void lay_over(struct plan *p, const struct exec_plan *x, size_t by)
{
	p->flags &= ~(uint32_t)PLAN_TTY;
	p->flags |= x->flags & EXEC_TTY ? PLAN_TTY : 0;
	p->argv = moved(x->argv, by);
	if (x->flags & EXEC_CWD)
		p->cwd = moved(x->cwd, by);
	if (!(x->flags & EXEC_USER))
		return;
	if (x->uid != p->uid)
		caps_for(&p->caps, x->uid);
	p->uid = x->uid;
	p->gid = x->gid;
	p->groups = moved(x->groups, by);
}

int exec_view_open(struct exec_view *ret, int plan, size_t size, int exec_plan)
{
	size_t first = whole_pages(size);
	long second = sealed_size(exec_plan);
	struct exec_plan *x;
	struct plan *p;

	if (second < 0)
		return (int)second;
	p = mmap(NULL, first + whole_pages((size_t)second), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
		-1, 0);
	if (p == MAP_FAILED)
		return -errno;
	x = (void *)((char *)p + first);
	if (mmap(p, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, plan, 0) == MAP_FAILED ||
		mmap(x, (size_t)second, PROT_READ, MAP_PRIVATE | MAP_FIXED, exec_plan, 0) ==
			MAP_FAILED)
		return -errno;
	if (!sound(x, (size_t)second))
		return -EINVAL;
	lay_over(p, x, first);
	*ret = (struct exec_view){.plan = p, .exec = x};
	return 0;
}

/* Is there a variable of s's name among the strings? */
static bool names_one(const void *base, struct plan_range strings, const char *s)
{
	const char *at = (const char *)base + strings.off;
	size_t n = strcspn(s, "=") + 1;

	for (uint32_t i = 0; i < strings.count; i++) {
		if (strncmp(at, s, n) == 0)
			return true;
		at += strlen(at) + 1;
	}
	return false;
}

static char *next(char *s)
{
	return s + strlen(s) + 1;
}

size_t exec_view_env_len(const struct exec_view *v)
{
	return (size_t)v->plan->envp.count + v->exec->env.count + v->exec->env_else.count;
}

void exec_view_env(const struct exec_view *v, char **at)
{
	const struct exec_plan *x = v->exec;
	char *s = (char *)(uintptr_t)v->plan + v->plan->envp.off;

	for (uint32_t i = 0; i < v->plan->envp.count; i++, s = next(s))
		if (!names_one(x, x->env, s))
			*at++ = s;
	s = (char *)(uintptr_t)x + x->env.off;
	for (uint32_t i = 0; i < x->env.count; i++, s = next(s))
		*at++ = s;
	s = (char *)(uintptr_t)x + x->env_else.off;
	for (uint32_t i = 0; i < x->env_else.count; i++, s = next(s))
		if (!names_one(x, x->env, s) && !names_one(v->plan, v->plan->envp, s))
			*at++ = s;
	*at = NULL;
}
