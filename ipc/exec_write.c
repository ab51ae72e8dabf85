/* What differs from the container's own plan, in one sealed memfd. */
#include "ipc/exec_write.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/exec_plan.h"

/* Strings one behind the other, written as the memfd's bytes. */
struct writer {
	int fd;
	size_t at;
	int err;
};

static void put(struct writer *w, const void *data, size_t len)
{
	if (w->at + len > EXEC_PLAN_SIZE_MAX)
		w->err = -E2BIG;
	else if (w->err == 0 && pwrite(w->fd, data, len, (off_t)w->at) != (ssize_t)len)
		w->err = -errno;
	w->at += len;
}

static void begin(struct writer *w, struct plan_range *r)
{
	w->at = (w->at + 7) & ~(size_t)7;
	*r = (struct plan_range){.off = (uint32_t)w->at};
}

static void add(struct writer *w, struct plan_range *r, const char *s)
{
	put(w, s, strlen(s) + 1);
	r->len = (uint32_t)w->at - r->off;
	r->count++;
}

static void add_all(struct writer *w, struct plan_range *r, char *const *strings, size_t n)
{
	begin(w, r);
	for (size_t i = 0; i < n; i++)
		add(w, r, strings[i]);
}

static bool given(const struct exec_wish *x, const char *name, size_t len)
{
	for (size_t i = 0; i < x->env_len; i++)
		if (strncmp(x->env[i], name, len) == 0)
			return true;
	return false;
}

/* HOME follows the user, unless it was given; a terminal has a kind, unless the service's says it.
 */
static void put_env(struct writer *w, struct exec_plan *p, const struct exec_wish *x)
{
	char home[264];

	add_all(w, &p->env, x->env, x->env_len);
	snprintf(home, sizeof(home), "HOME=%s", x->home ? x->home : "");
	if (x->home && !given(x, "HOME=", 5))
		add(w, &p->env, home);
	begin(w, &p->env_else);
	if (x->terminal)
		add(w, &p->env_else, "TERM=xterm");
}

static void put_user(struct writer *w, struct exec_plan *p, const struct exec_wish *x)
{
	p->flags |= EXEC_USER;
	p->uid = x->uid;
	p->gid = x->gid;
	begin(w, &p->groups);
	put(w, x->groups, x->groups_len * sizeof(x->groups[0]));
	p->groups.len = (uint32_t)w->at - p->groups.off;
	p->groups.count = (uint32_t)x->groups_len;
}

static int seal(struct writer *w, struct exec_plan *p)
{
	p->magic = EXEC_PLAN_MAGIC;
	p->version = EXEC_PLAN_VERSION;
	p->size = (uint32_t)w->at;
	w->at = 0;
	put(w, p, sizeof(*p));
	if (w->err == -E2BIG)
		return fault_plain(w->err, "exec: command and environment are larger than %u MiB",
			EXEC_PLAN_SIZE_MAX >> 20);
	if (w->err == 0 && ftruncate(w->fd, (off_t)p->size) < 0) /* an empty end is not written */
		w->err = -errno;
	if (w->err < 0)
		return fault(w->err, "exec: write its plan");
	if (fcntl(w->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		return fault(-errno, "exec: seal its plan");
	return 0;
}

int exec_write(const struct exec_wish *x)
{
	struct exec_plan p = {.flags = x->terminal ? EXEC_TTY : 0};
	auto_fd fd = memfd_create("exec", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct writer w = {.fd = fd, .at = sizeof(p)};
	int r;

	if (fd < 0)
		return fault(-errno, "exec: memfd");
	add_all(&w, &p.argv, x->argv, x->argc);
	put_env(&w, &p, x);
	if (x->has_user)
		put_user(&w, &p, x);
	if (x->cwd) {
		p.flags |= EXEC_CWD;
		begin(&w, &p.cwd);
		add(&w, &p.cwd, x->cwd);
	}
	r = seal(&w, &p);
	return r < 0 ? r : fd_take(&fd);
}
