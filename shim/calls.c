#include "shim/calls.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/base/fault.h"
#include "ipc/base/fd.h"

#define CALLS_MAGIC   0x736c6c6163666864ULL /* "dhfcalls" */
#define CALLS_VERSION 1

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

struct call *calls_add(struct calls *c, uint64_t conn, uint32_t stream, enum call_method method)
{
	for (unsigned i = 0; i < CALLS_MAX; i++) {
		struct call *call = &c->table->calls[i];

		if (call->conn)
			continue;
		*call = (struct call){.stream = stream, .method = (uint16_t)method};
		call->conn = conn; /* last: what is named is whole */
		return call;
	}
	return NULL;
}

void calls_drop(struct call *call)
{
	*call = (struct call){0};
}
