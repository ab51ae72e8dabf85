#include "init/store.h"

#include <errno.h>
#include <unistd.h>

#include "ipc/let_go.h"

struct store_slot *store_find(struct store *s, uint32_t kind, uint64_t key)
{
	for (unsigned i = STORE_MAX; i-- > store_first(s);)
		if (s->slots[i].name.kind == kind && s->slots[i].name.key == key)
			return &s->slots[i];
	return 0;
}

static struct store_slot *slot_new(struct store *s)
{
	struct store_slot *slot = store_find(s, 0, 0);

	if (!slot && s->taken < STORE_MAX)
		slot = &s->slots[STORE_MAX - ++s->taken];
	return slot;
}

static void slot_free(struct store *s, struct store_slot *slot)
{
	if (slot->name.kind == HELD_STORED || slot->name.kind == HELD_NOTIFY)
		let_go(&slot->fd, 1); /* what the service made of it may hold up nobody here */
	else
		close(slot->fd);
	s->conns -= slot->name.kind == HELD_CONN;
	slot->name = (struct held){0};
	slot->fd = -1;
}

int store_put(struct store *s, struct held name, int fd, bool told)
{
	struct store_slot *slot = store_find(s, name.kind, name.key);

	if (name.kind == 0 || name.kind >= HELD_KINDS) {
		close(fd);
		return -EINVAL;
	}
	if (slot)
		slot_free(s, slot);
	else
		slot = slot_new(s);
	if (!slot) {
		close(fd);
		return -ENOSPC;
	}
	slot->name = (struct held){.kind = name.kind, .key = name.key};
	slot->peer = (struct held_conn){.id = name.key};
	slot->fd = fd;
	slot->told = told;
	s->conns += name.kind == HELD_CONN;
	return 0;
}

void store_drop(struct store *s, struct held name)
{
	struct store_slot *slot = name.kind ? store_find(s, name.kind, name.key) : 0;

	if (slot)
		slot_free(s, slot);
}

bool store_takes(const struct store *s, enum container_socket from)
{
	return s->conns < STORE_CONNS_MAX - (from == SOCKET_OBSERVE ? STORE_CONNS_KEPT : 0);
}

void store_untell(struct store *s)
{
	for (unsigned i = store_first(s); i < STORE_MAX; i++)
		s->slots[i].told = false;
}
