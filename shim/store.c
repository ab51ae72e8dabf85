#include "shim/store.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/log.h"
#include "ipc/base/mem.h"
#include "ipc/fds.h"
#include "ipc/let_go.h"
#include "shim/shim.h"

#define STORE_TAG (1ULL << 62) /* no other request of ours to init has it */

static bool same_file(int a, int b)
{
	return syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, a, b) == 0;
}

static bool room(struct notify *n)
{
	if (!n->stored)
		n->stored = calloc(PLAN_STORED_MAX, sizeof(*n->stored));
	return n->stored && n->count < PLAN_STORED_MAX;
}

static int write_names(const struct notify *n)
{
	auto_free struct stored_name *list = calloc(PLAN_STORED_MAX, sizeof(*list));

	if (!list)
		return fault(-ENOMEM, "names of stored descriptors");
	for (unsigned i = 0; i < n->count; i++)
		list[i] = n->stored[i].name;
	return stored_write(SHIM_FD_STATE, list, n->count);
}

/* Its answer is waited for: till then the service may be told nothing that follows from it. */
static void tell_init(struct shim *s, const struct stored *f)
{
	struct store_req req = {.key = f->name.key};
	uint64_t tag = now_boot() | STORE_TAG;

	if (tag <= s->notify.tag)
		tag = s->notify.tag + 1;

	if (!shim_has_init(s) || !s->init.loop || s->init.fd < 0)
		return;
	memcpy(req.name, f->name.name, sizeof(req.name));
	if (channel_send(s->init.fd, INIT_STORE, tag, &req, sizeof(req), &f->fd, 1) == 0)
		s->notify.tag = tag;
}

static uint64_t next_key(const struct notify *n)
{
	uint64_t key = now_boot(); /* larger than any of an earlier life */

	for (unsigned i = 0; i < n->count; i++)
		if (n->stored[i].name.key >= key)
			key = n->stored[i].name.key + 1;
	return key;
}

static void tell_full(struct shim *s, const char *name)
{
	if (!s->notify.full_told)
		journal_warn(&s->journal,
			"FDSTORE=1: \"%s\" is not kept: %u descriptors are stored already", name,
			PLAN_STORED_MAX);
	s->notify.full_told = true;
}

void store_add(struct shim *s, const char *name, int fd)
{
	struct notify *n = &s->notify;
	struct stored *f;

	for (unsigned i = 0; i < n->count; i++)
		if (same_file(n->stored[i].fd, fd)) { /* perhaps init has not heard of it */
			fd_close(&fd);
			tell_init(s, &n->stored[i]);
			return;
		}
	if (!room(n)) {
		tell_full(s, name);
		fd_close(&fd);
		return;
	}
	f = &n->stored[n->count++];
	f->name.key = next_key(n);
	f->fd = fd;
	snprintf(f->name.name, sizeof(f->name.name), "%s", name);
	if (write_names(n) < 0)
		log_warn("%s", fault_text());
	link_keeper_hold(s, HELD_STORED, f->name.key, f->fd);
	tell_init(s, f);
}

static void forget(struct shim *s, unsigned i)
{
	struct notify *n = &s->notify;
	struct u64_req req = {.value = n->stored[i].name.key};

	if (shim_has_init(s))
		link_init_send(s, INIT_UNSTORE, 0, &req, sizeof(req));
	link_keeper_drop(s, HELD_STORED, req.value);
	let_go(&n->stored[i].fd, 1);
	n->full_told = false;
	n->count--;
	memmove(&n->stored[i], &n->stored[i + 1], (n->count - i) * sizeof(*n->stored));
}

void store_remove(struct shim *s, const char *name)
{
	struct notify *n = &s->notify;

	for (unsigned i = n->count; i-- > 0;)
		if (strcmp(n->stored[i].name.name, name) == 0)
			forget(s, i);
	if (n->stored && write_names(n) < 0)
		log_warn("%s", fault_text());
}

/* A new shim hears from the keeper what is held; what it is called stands in the file. */
void notify_stored(struct shim *s, uint64_t key, int fd)
{
	auto_free struct stored_name *names = calloc(PLAN_STORED_MAX, sizeof(*names));
	int count = names ? stored_read(SHIM_FD_STATE, names) : 0;
	struct notify *n = &s->notify;
	struct stored *f;

	if (!room(n)) {
		fd_close(&fd);
		return;
	}
	f = &n->stored[n->count++];
	*f = (struct stored){.name = {.key = key, .name = "stored"}, .fd = fd};
	for (int i = 0; i < count; i++)
		if (names[i].key == key)
			f->name = names[i];
}
