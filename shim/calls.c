#include "shim/calls.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"

#define CALLS_MAGIC   0x736c6c6163666864ULL /* "dhfcalls" */
#define CALLS_VERSION 3

/* full() says these numbers */
_Static_assert(CALLS_A_CONN == 64 && CALLS_MAX == 256 && CALLS_KEPT == 64, "");

static int make(void)
{
	const struct calls_head head = {
		.magic = CALLS_MAGIC, .version = CALLS_VERSION, .size = sizeof(struct calls_table)};
	int fd = memfd_create("holdfast-calls", MFD_CLOEXEC);

	if (fd < 0)
		return fault(-errno, "table of calls");
	if (ftruncate(fd, sizeof(struct calls_table)) < 0 ||
		pwrite(fd, &head, sizeof(head), 0) != sizeof(head)) {
		close(fd);
		return fault(-EIO, "table of calls");
	}
	return fd;
}

static bool believable(int fd)
{
	struct calls_head head;
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_size == sizeof(struct calls_table) &&
	       pread(fd, &head, sizeof(head), 0) == sizeof(head) && head.magic == CALLS_MAGIC &&
	       head.version == CALLS_VERSION && head.size == sizeof(struct calls_table);
}

int calls_open(struct calls *c, int fd, bool *inherited)
{
	void *map;

	*inherited = fd >= 0 && believable(fd);
	if (!*inherited) {
		fd_close(&fd);
		fd = make();
	}
	if (fd < 0)
		return fd;
	map = mmap(NULL, sizeof(*c->table), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		close(fd);
		return fault(-errno, "table of calls");
	}
	c->fd = fd;
	c->table = map;
	return 0;
}

void calls_close(struct calls *c)
{
	if (c->table)
		munmap(c->table, sizeof(*c->table));
	c->table = NULL;
	fd_close(&c->fd);
}

struct call_conn *calls_conn(struct calls *c, uint64_t id)
{
	struct call_conn *room = NULL;

	for (unsigned i = 0; i < CALLS_CONNS_MAX; i++) {
		struct call_conn *conn = &c->table->conns[i];

		if (conn->id == id)
			return conn;
		if (!conn->id && !room)
			room = conn;
	}
	if (room)
		*room = (struct call_conn){.id = id};
	return room;
}

void calls_conn_drop(struct calls *c, uint64_t id)
{
	for (unsigned i = 0; i < CALLS_MAX; i++)
		if (c->table->calls[i].conn == id)
			calls_drop(&c->table->calls[i]);
	for (unsigned i = 0; i < CALLS_CONNS_MAX; i++)
		if (c->table->conns[i].id == id)
			c->table->conns[i] = (struct call_conn){0};
}

static const struct call_conn *conn_of(const struct calls *c, uint64_t id)
{
	for (unsigned i = 0; i < CALLS_CONNS_MAX; i++)
		if (c->table->conns[i].id == id)
			return &c->table->conns[i];
	return NULL;
}

static bool observes(const struct calls *c, uint64_t id)
{
	const struct call_conn *conn = conn_of(c, id);

	return !conn || conn->flags & CONN_OBSERVE;
}

/* One client can't take the room of all others, nor all observers together the operator's. NULL:
 * there is room. */
static const char *full(const struct calls *c, uint64_t id)
{
	unsigned own = 0, all = 0;

	for (unsigned i = 0; i < CALLS_MAX; i++) {
		own += c->table->calls[i].conn == id;
		all += c->table->calls[i].conn != 0;
	}
	if (own >= CALLS_A_CONN)
		return "64 calls are under way on this connection, no more (end one, or use another)";
	if (all >= CALLS_MAX)
		return "256 calls are under way on this container, no more (end one of them)";
	if (all >= CALLS_MAX - CALLS_KEPT && observes(c, id))
		return "192 calls are under way on this container, no more on the observe socket";
	return NULL;
}

unsigned calls_count(const struct calls *c, enum call_method method, bool observers)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CALLS_MAX; i++) {
		const struct call *call = &c->table->calls[i];

		if (call->conn && call->method == method)
			n += !observers || observes(c, call->conn);
	}
	return n;
}

uint64_t calls_deadline(const struct calls *c, uint64_t now)
{
	uint64_t first = 0;

	for (unsigned i = 0; i < CALLS_MAX; i++) {
		const struct call *call = &c->table->calls[i];

		if (call->conn && call->deadline > now && (!first || call->deadline < first))
			first = call->deadline;
	}
	return first;
}

struct call *calls_add(
	struct calls *c, uint64_t conn, uint32_t stream, enum call_method method, const char **why)
{
	const char *text = full(c, conn);

	if (why)
		*why = text;
	if (text)
		return NULL;
	for (unsigned i = 0; i < CALLS_MAX; i++) {
		struct call *call = &c->table->calls[i];

		if (call->conn)
			continue;
		*call = (struct call){.stream = stream, .method = (uint16_t)method};
		__atomic_store_n(&call->conn, conn, __ATOMIC_RELEASE);
		return call;
	}
	return NULL;
}

/* Whose request comes again and is to find what was done of it. */
static bool comes_again(const struct call *call)
{
	return call->method >= CALL_EXEC && call->method <= CALL_STDIN &&
	       call->method != CALL_WAIT_EXEC;
}

void calls_settle_begun(struct calls *c, struct call_conn *conn)
{
	for (unsigned i = 0; i < CALLS_MAX; i++) {
		struct call *call = &c->table->calls[i];

		if (call->conn != conn->id || call->stream <= conn->last_stream)
			continue;
		if (call->method == CALL_ASK && call->ask.verb)
			conn->last_stream = call->stream;
		else if (!comes_again(call))
			calls_drop(call);
	}
}

struct call *calls_find(struct calls *c, uint64_t conn, uint32_t stream)
{
	for (unsigned i = 0; i < CALLS_MAX; i++)
		if (c->table->calls[i].conn == conn && c->table->calls[i].stream == stream)
			return &c->table->calls[i];
	return NULL;
}

void calls_drop(struct call *call)
{
	*call = (struct call){0};
}

/* Chunks of standard input ----------------------------------------------------------------------
 */

static bool waits(const struct call *call)
{
	return call->conn && call->method == CALL_STDIN && call->in.chunk;
}

/* 1 + a free place, 0: there is none for this connection. */
static uint32_t free_chunk(const struct calls *c, uint64_t conn)
{
	bool used[CALLS_CHUNKS] = {false};
	unsigned own = 0;

	for (unsigned i = 0; i < CALLS_MAX; i++) {
		const struct call *call = &c->table->calls[i];

		if (!waits(call) || call->in.chunk > CALLS_CHUNKS)
			continue;
		used[call->in.chunk - 1] = true;
		own += call->conn == conn;
	}
	for (uint32_t i = 0; own < CALLS_CHUNKS_A_CONN && i < CALLS_CHUNKS; i++)
		if (!used[i])
			return i + 1;
	return 0;
}

bool calls_keep_chunk(struct calls *c, struct call *call, const void *data, uint32_t len)
{
	uint32_t chunk = free_chunk(c, call->conn);

	if (!chunk || len > CALLS_CHUNK_BYTES)
		return false;
	if (len)
		memcpy(c->table->chunks[chunk - 1], data, len);
	call->in.len = len;
	call->in.turn = ++c->table->head.turns;
	__atomic_store_n(&call->in.chunk, chunk, __ATOMIC_RELEASE);
	return true;
}

const void *calls_chunk(const struct calls *c, const struct call *call)
{
	return call->in.chunk && call->in.chunk <= CALLS_CHUNKS
		       ? c->table->chunks[call->in.chunk - 1]
		       : NULL;
}

void calls_forget_chunk(struct calls *c, struct call *call)
{
	const void *at = calls_chunk(c, call);

	if (at)
		madvise((void *)(uintptr_t)at, CALLS_CHUNK_BYTES, MADV_REMOVE);
}
