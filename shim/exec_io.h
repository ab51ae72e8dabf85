/* Standard input and output of the execs that the API began. Output goes from a pipe, whose read
 * end the keeper holds too, by splice to a file of its own in the state directory, at an explicit
 * offset: its bytes are in the one or in the other, never here, so that no death of a shim loses or
 * doubles one. A file keeps the newest MiB; whoever is attached and slower holds the writer up
 * instead. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ipc/base/loop.h"
#include "ipc/logfile.h"

struct shim;

#define EXEC_IO_MAX  16u	/* of one container; the oldest that is over makes room */
#define EXEC_IO_KEEP (1u << 20) /* bytes of each stream */

struct exec_stream {
	struct loop_io io; /* a pipe's read end, or a terminal's master; fd -1: it has ended */
	int fd;		   /* a terminal: read end of the pipe behind it */
	int file;	   /* -1: there is no such stream */
	uint64_t at, low;  /* offsets: behind the newest byte, of the oldest that is kept */
	bool stalled;	   /* somebody attached has not read what is kept */
};

struct exec_io {
	struct exec_io *next; /* shim::exec_ios, the oldest first */
	struct shim *shim;
	uint32_t id;
	int in;		     /* write end of its stdin, or its terminal's master; -1: none */
	int pipe_in;	     /* a terminal: write end of the pipe behind it; -1: it has none */
	struct loop_io room; /* somebody waits to write */
	struct exec_stream out[LOG_STREAMS];
};

struct exec_io_wish {
	bool terminal, input, output;
	uint16_t rows, columns;
};

void exec_io_setup(struct shim *s);

/* Makes what the exec gets as 0, 1 and 2 (the caller closes each once; terminal: all are one) and
 * whatever is left here of it. A fault, -EBUSY: there are too many. */
int exec_io_make(struct shim *s, uint32_t id, const struct exec_io_wish *wish, int stdio[3]);
struct exec_io *exec_io_find(const struct shim *s, uint32_t id);
void exec_io_forget(struct shim *s, uint32_t id); /* it was not begun after all */

/* Bytes at *at, which moves up to what is still kept (*dropped: by how many). 0: none at present.
 */
ssize_t exec_io_read(struct exec_io *e, enum log_stream stream, uint64_t *at, uint64_t *dropped,
	void *buf, size_t size);
/* Nothing more will be written. */
bool exec_io_over(const struct exec_io *e, enum log_stream stream);

/* When fd takes something again, serve_changed(). */
void exec_io_await_room(struct shim *s, struct loop_io *room, int fd);
void exec_io_close_input(struct exec_io *e);

void exec_io_read_on(struct shim *s); /* an attached client has read, or has gone */

/* A new shim: what the keeper holds, and once it is all there, what lies on disk. */
void exec_io_held(struct shim *s, uint64_t key, int fd);
void exec_io_recover(struct shim *s);
/* The keeper is dead: each descriptor, for the next one. 0 or what `give` said. */
int exec_io_each(struct shim *s, int (*give)(void *ctx, uint64_t key, int fd), void *ctx);
void exec_io_halt(struct shim *s);
void exec_io_finish(struct shim *s); /* the container is down: nothing stays */
