#include "shim/pressure_feed.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/base/log.h"
#include "shim/shim.h"

#define KIND_BITS 8
#define SAID_MAX  4096u

static bool listens(const struct pressure_feeds *f, uint64_t kind)
{
	return f->listeners[kind].loop && f->listeners[kind].fd >= 0;
}

static void drop(struct shim *s, struct pressure_conn *c)
{
	link_keeper_drop(s, HELD_PRESSURE_CONN, c->key);
	link_init_unkeep(s, HELD_PRESSURE_CONN, c->key);
	loop_io_finish(&c->io);
	c->key = 0;
}

/* What it says is how it would have the kernel measure: the rules say that here. */
static void on_said(struct loop_io *io)
{
	struct shim *s = io->ctx;
	struct pressure_conn *c = (struct pressure_conn *)io;
	char text[256];
	ssize_t n = recv(io->fd, text, sizeof(text), MSG_DONTWAIT);

	if (n > 0)
		c->said += (uint32_t)n;
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) || c->said > SAID_MAX)
		drop(s, c);
}

static struct pressure_conn *place(struct shim *s)
{
	struct pressure_feeds *f = &s->pressure;
	struct pressure_conn *oldest;

	if (!f->conns)
		f->conns = calloc(PRESSURE_CONNS, sizeof(*f->conns));
	oldest = f->conns;
	for (unsigned i = 0; f->conns && i < PRESSURE_CONNS; i++) {
		if (!f->conns[i].key)
			return &f->conns[i];
		if (f->conns[i].key >> KIND_BITS < oldest->key >> KIND_BITS)
			oldest = &f->conns[i];
	}
	if (oldest)
		drop(s, oldest);
	return oldest;
}

void pressure_conn_held(struct shim *s, uint64_t key, int fd)
{
	struct pressure_conn *c = place(s);

	if (!c) {
		close(fd);
		return;
	}
	if (key >> KIND_BITS > s->pressure.next)
		s->pressure.next = key >> KIND_BITS;
	c->key = key;
	c->said = 0;
	loop_io_start(&c->io, &s->loop, fd, on_said, s);
}

static void on_connect(struct loop_io *io)
{
	struct shim *s = io->ctx;
	uint64_t kind = (uint64_t)(io - s->pressure.listeners), key;
	int fd = accept4(io->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	key = ++s->pressure.next << KIND_BITS | kind;
	link_keeper_hold(s, HELD_PRESSURE_CONN, key, fd);
	link_init_keep(s, HELD_PRESSURE_CONN, key, fd);
	pressure_conn_held(s, key, fd);
}

void pressure_held(struct shim *s, uint64_t key, int fd)
{
	if (key >= PRESSURE_OF) {
		close(fd);
		return;
	}
	loop_io_finish(&s->pressure.listeners[key]);
	loop_io_start(&s->pressure.listeners[key], &s->loop, fd, on_connect, s);
}

/* One that has not read the last byte yet knows already. */
void pressure_feed(struct shim *s, enum pressure_kind kind)
{
	struct pressure_feeds *f = &s->pressure;

	for (unsigned i = 0; f->conns && i < PRESSURE_CONNS; i++)
		if (f->conns[i].key && (f->conns[i].key & ((1u << KIND_BITS) - 1)) == kind &&
			send(f->conns[i].io.fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			log_debug("pressure: %m");
}

void pressure_end(struct shim *s)
{
	struct pressure_feeds *f = &s->pressure;

	for (unsigned i = 0; f->conns && i < PRESSURE_CONNS; i++)
		if (f->conns[i].key)
			drop(s, &f->conns[i]);
	for (uint64_t kind = 0; kind < PRESSURE_OF; kind++) {
		if (!listens(f, kind))
			continue;
		loop_io_finish(&f->listeners[kind]);
		link_keeper_drop(s, HELD_PRESSURE, kind);
	}
}
