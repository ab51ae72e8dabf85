#include "shim/exec_io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/base/clock.h"
#include "ipc/base/fault.h"
#include "ipc/base/fd.h"
#include "ipc/base/log.h"
#include "ipc/exec_term.h"
#include "ipc/fds.h"
#include "shim/shim.h"

#define PIECE	   65536u
#define PIECES	   16 /* a turn: the loop is everybody's */
#define PUNCH_STEP (256u << 10)
#define PAGE	   4096u

/* Keys of HELD_EXEC: the exec's id, and which of its descriptors. */
enum { KEY_IN, KEY_OUT, KEY_ERR, KEY_PIPE_IN, KEYS };

static uint64_t key_of(const struct exec_io *e, unsigned which)
{
	return (uint64_t)e->id << 2 | which;
}

static bool terminal(const struct exec_io *e)
{
	return e->pipe_in >= 0;
}

static int source(const struct exec_io *e, const struct exec_stream *o)
{
	return terminal(e) ? o->fd : o->io.fd;
}

struct exec_io *exec_io_find(const struct shim *s, uint32_t id)
{
	struct exec_io *e = s->exec_ios;

	while (e && e->id != id)
		e = e->next;
	return e;
}

bool exec_io_over(const struct exec_io *e, enum log_stream stream)
{
	return e->out[stream].io.fd < 0;
}

/* Files -----------------------------------------------------------------------------------------
 */

static void file_name(char name[40], uint32_t id, int stream)
{
	snprintf(name, 40, "exec-%u.%d", id, stream + 1);
}

static int file_open(struct exec_io *e, int i, int flags)
{
	struct exec_stream *o = &e->out[i];
	char name[40];
	off_t first;

	file_name(name, e->id, i);
	o->file = openat(SHIM_FD_STATE, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
	if (o->file < 0)
		return fault(-errno, "open %s", name);
	o->at = (uint64_t)lseek(o->file, 0, SEEK_END);
	first = lseek(o->file, 0, SEEK_DATA);
	o->low = first < 0 ? o->at : (uint64_t)first;
	return 0;
}

/* What the slowest who is attached has. */
static uint64_t slowest(const struct shim *s, const struct exec_io *e, int stream)
{
	uint64_t at = UINT64_MAX;

	for (unsigned i = 0; s->calls.table && i < CALLS_MAX; i++) {
		const struct call *call = &s->calls.table->calls[i];

		if (call->conn && call->method == CALL_ATTACH && call->logs.exec == e->id &&
			call->logs.at[stream] < at)
			at = call->logs.at[stream];
	}
	return at;
}

static void forget_oldest(struct exec_stream *o, uint64_t needed)
{
	uint64_t low = (o->at > EXEC_IO_KEEP ? o->at - EXEC_IO_KEEP : 0) / PAGE * PAGE;

	if (low > needed)
		low = needed / PAGE * PAGE;
	if (low < o->low + PUNCH_STEP ||
		fallocate(o->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)o->low,
			(off_t)(low - o->low)) < 0)
		return;
	o->low = low;
}

/* Output ----------------------------------------------------------------------------------------
 */

static void stream_end(struct exec_io *e, int i)
{
	struct exec_stream *o = &e->out[i];

	loop_io_finish(&o->io);
	fd_close(&o->fd);
	link_keeper_drop(e->shim, HELD_EXEC, key_of(e, KEY_OUT + (unsigned)i));
	if (terminal(e)) {
		fd_close(&e->in);
		fd_close(&e->pipe_in);
		link_keeper_drop(e->shim, HELD_EXEC, key_of(e, KEY_IN));
		link_keeper_drop(e->shim, HELD_EXEC, key_of(e, KEY_PIPE_IN));
	}
}

enum moved { MOVED, EMPTY, ENDED, STUCK };

/* From the terminal into the pipe that outlives us. It ends when nobody has its other end open. */
static enum moved feed(struct exec_io *e, struct exec_stream *o)
{
	ssize_t n = terminal(e) ? splice(o->io.fd, NULL, e->pipe_in, NULL, PIECE, SPLICE_F_NONBLOCK)
				: 0;

	return n > 0 ? MOVED : n < 0 && errno == EIO ? ENDED : EMPTY;
}

static enum moved move(struct exec_io *e, struct exec_stream *o)
{
	loff_t at = (loff_t)o->at;
	enum moved fed = feed(e, o);
	ssize_t n = splice(source(e, o), NULL, o->file, &at, PIECE, SPLICE_F_NONBLOCK);

	if (n > 0) {
		o->at += (uint64_t)n;
		return MOVED;
	}
	if (n == 0)
		return ENDED;
	if (errno != EAGAIN)
		return STUCK; /* no room on disk: the exec waits for it */
	return terminal(e) ? fed : EMPTY;
}

static void pump(struct exec_io *e, int i)
{
	struct exec_stream *o = &e->out[i];
	enum moved moved = MOVED;

	for (int n = 0; n < PIECES && moved == MOVED; n++) {
		uint64_t needed = slowest(e->shim, e, i);

		o->stalled = needed != UINT64_MAX && o->at >= needed + EXEC_IO_KEEP;
		if (o->stalled)
			break;
		moved = move(e, o);
		forget_oldest(o, needed);
	}
	if (moved == ENDED)
		stream_end(e, i);
	else if (moved == STUCK || o->stalled)
		loop_io_want(&o->io, false, false);
	if (moved == STUCK)
		loop_timer_set(&e->shim->exec_retry, 200 * USEC_PER_MSEC);
	serve_changed(e->shim);
}

static void on_output(struct loop_io *io)
{
	struct exec_io *e = io->ctx;

	pump(e, io == &e->out[LOG_STDERR].io ? LOG_STDERR : LOG_STDOUT);
}

/* Those that waited, for a reader or for the disk, are tried again. */
void exec_io_read_on(struct shim *s)
{
	for (struct exec_io *e = s->exec_ios; e; e = e->next)
		for (int i = 0; i < LOG_STREAMS; i++)
			if (e->out[i].io.fd >= 0 && e->out[i].io.loop) {
				loop_io_want(&e->out[i].io, true, false);
				pump(e, i);
			}
}

static void on_retry(struct loop_timer *t)
{
	exec_io_read_on(t->ctx);
}

void exec_io_setup(struct shim *s)
{
	loop_timer_init(&s->exec_retry, &s->loop, on_retry, s);
}

ssize_t exec_io_read(struct exec_io *e, enum log_stream stream, uint64_t *at, uint64_t *dropped,
	void *buf, size_t size)
{
	struct exec_stream *o = &e->out[stream];
	ssize_t n;

	*dropped = 0;
	if (o->file < 0)
		return 0;
	if (*at < o->low) {
		*dropped = o->low - *at;
		*at = o->low;
	}
	if (*at >= o->at)
		return 0;
	size = o->at - *at < size ? (size_t)(o->at - *at) : size;
	n = pread(o->file, buf, size, (off_t)*at);
	return n < 0 ? fault(-errno, "output of exec %u", e->id) : n;
}

/* Input -----------------------------------------------------------------------------------------
 */

void exec_io_close_input(struct exec_io *e)
{
	if (terminal(e))
		return;
	fd_close(&e->in);
	link_keeper_drop(e->shim, HELD_EXEC, key_of(e, KEY_IN));
}

static void on_room(struct loop_io *io)
{
	struct shim *s = io->ctx;

	loop_io_finish(io);
	serve_changed(s);
}

void exec_io_await_room(struct shim *s, struct loop_io *room, int fd)
{
	if (room->loop && room->fd >= 0)
		return;
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 0); /* the watcher closes what it watches */
	if (fd < 0)
		return;
	loop_io_start(room, &s->loop, fd, on_room, s);
	loop_io_want(room, false, true);
}

/* Making ----------------------------------------------------------------------------------------
 */

static struct exec_io *entry_new(struct shim *s, uint32_t id)
{
	struct exec_io *e = calloc(1, sizeof(*e)), **at = &s->exec_ios;

	if (!e)
		return NULL;
	e->shim = s;
	e->id = id;
	e->in = e->pipe_in = e->room.fd = -1;
	for (int i = 0; i < LOG_STREAMS; i++)
		e->out[i].io.fd = e->out[i].fd = e->out[i].file = -1;
	while (*at)
		at = &(*at)->next;
	*at = e;
	return e;
}

static void entry_close(struct exec_io *e)
{
	loop_io_finish(&e->room);
	for (int i = 0; i < LOG_STREAMS; i++) {
		loop_io_finish(&e->out[i].io);
		fd_close(&e->out[i].fd);
		fd_close(&e->out[i].file);
	}
	fd_close(&e->in);
	fd_close(&e->pipe_in);
}

static void entry_free(struct exec_io *e)
{
	struct exec_io **at = &e->shim->exec_ios;
	char name[40];

	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	for (unsigned k = 0; k < KEYS; k++)
		link_keeper_drop(e->shim, HELD_EXEC, key_of(e, k));
	entry_close(e);
	for (int i = 0; i < LOG_STREAMS; i++) {
		file_name(name, e->id, i);
		unlinkat(SHIM_FD_STATE, name, 0);
	}
	free(e);
}

void exec_io_forget(struct shim *s, uint32_t id)
{
	struct exec_io *e = exec_io_find(s, id);

	if (e)
		entry_free(e);
}

static bool over(const struct exec_io *e)
{
	for (int i = 0; i < LOG_STREAMS; i++)
		if (!exec_io_over(e, (enum log_stream)i) || slowest(e->shim, e, i) != UINT64_MAX)
			return false;
	return !execs_goes_on(e->shim, e->id);
}

static bool make_room(struct shim *s)
{
	struct exec_io *oldest = NULL;
	unsigned n = 0;

	for (struct exec_io *e = s->exec_ios; e; e = e->next) {
		n++;
		oldest = oldest ? oldest : over(e) ? e : NULL;
	}
	if (n < EXEC_IO_MAX)
		return true;
	if (oldest)
		entry_free(oldest);
	return oldest;
}

static void watch(struct exec_io *e, int i)
{
	struct exec_stream *o = &e->out[i];
	int fd = terminal(e) ? fcntl(e->in, F_DUPFD_CLOEXEC, 0) : fd_take(&o->fd);

	if (fd >= 0)
		loop_io_start(&o->io, &e->shim->loop, fd, on_output, e);
}

/* Deposited before the exec is asked for: what a shim does not live to use, its successor has. */
static void hold(struct exec_io *e)
{
	struct shim *s = e->shim;
	const int fds[KEYS] = {e->in, e->out[0].fd, e->out[1].fd, e->pipe_in};

	for (unsigned k = 0; k < KEYS; k++)
		if (fds[k] >= 0)
			link_keeper_hold(s, HELD_EXEC, key_of(e, k), fds[k]);
}

static int pipe_make(int *rd, int *wr)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return fault(-errno, "exec: pipe");
	*rd = p[0];
	*wr = p[1];
	return 0;
}

static void nonblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0)
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

/* The pid was PID 1's all the while if that has not ended: its pidfd tells. */
static int container_root(struct shim *s)
{
	struct pollfd alive = {.fd = s->init_pidfd.loop ? s->init_pidfd.fd : -1, .events = POLLIN};
	auto_fd root = -1;
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/root", s->journal.now.init_pid);
	root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return fault(-errno, "%s", path);
	if (alive.fd < 0 || poll(&alive, 1, 0) != 0)
		return fault_plain(-ESRCH, "the container has ended");
	return fd_take(&root);
}

static int make_terminal(struct exec_io *e, const struct exec_io_wish *w, int stdio[3])
{
	const struct winsize size = {.ws_row = w->rows, .ws_col = w->columns};
	auto_fd root = container_root(e->shim);
	int r = root < 0 ? root : pipe_make(&e->out[0].fd, &e->pipe_in);

	if (r < 0)
		return r;
	e->in = exec_term_open(root, &stdio[0]);
	if (e->in < 0)
		return e->in;
	stdio[1] = stdio[2] = stdio[0];
	if (w->rows || w->columns)
		ioctl(e->in, TIOCSWINSZ, &size);
	nonblock(e->in);
	return file_open(e, LOG_STDOUT, O_CREAT | O_TRUNC);
}

static int make_pipes(struct exec_io *e, const struct exec_io_wish *w, int stdio[3])
{
	int r = w->input ? pipe_make(&stdio[0], &e->in) : 0;

	if (w->input && r == 0)
		nonblock(e->in);
	for (int i = 0; w->output && r == 0 && i < LOG_STREAMS; i++) {
		r = pipe_make(&e->out[i].fd, &stdio[1 + i]);
		if (r == 0)
			r = file_open(e, i, O_CREAT | O_TRUNC);
	}
	return r;
}

/* What is not asked for is /dev/null. */
static int fill_up(int stdio[3])
{
	for (int i = 0; i < 3; i++)
		if (stdio[i] < 0)
			stdio[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
	return stdio[0] < 0 || stdio[1] < 0 || stdio[2] < 0 ? fault(-errno, "/dev/null") : 0;
}

int exec_io_make(struct shim *s, uint32_t id, const struct exec_io_wish *w, int stdio[3])
{
	struct exec_io *e;
	int r;

	exec_io_forget(s, id); /* a predecessor's, who has not come as far as to ask */
	if (!w->terminal && !w->input && !w->output)
		return fill_up(stdio);
	if (!make_room(s))
		return fault_plain(-EBUSY, "%u execs with input or output, no more", EXEC_IO_MAX);
	e = entry_new(s, id);
	if (!e)
		return fault(-ENOMEM, "exec");
	r = w->terminal ? make_terminal(e, w, stdio) : make_pipes(e, w, stdio);
	if (r == 0)
		r = fill_up(stdio);
	if (r < 0) {
		entry_free(e);
		return r;
	}
	hold(e);
	for (int i = 0; i < LOG_STREAMS; i++)
		if (e->out[i].fd >= 0)
			watch(e, i);
	return 0;
}

/* Over deaths -----------------------------------------------------------------------------------
 */

void exec_io_held(struct shim *s, uint64_t key, int fd)
{
	uint32_t id = (uint32_t)(key >> 2);
	struct exec_io *e = exec_io_find(s, id);
	int *slot;

	e = e ? e : entry_new(s, id);
	if (!e) {
		close(fd);
		return;
	}
	slot = (key & 3) == KEY_IN	  ? &e->in
	       : (key & 3) == KEY_PIPE_IN ? &e->pipe_in
					  : &e->out[(key & 3) - KEY_OUT].fd;
	fd_close(slot);
	*slot = fd;
}

/* What the files say: whose pipes are gone has ended. */
static void recover_files(struct shim *s)
{
	int fd = openat(SHIM_FD_STATE, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;
	unsigned id;
	int stream;

	while (dir && (d = readdir(dir)))
		if (sscanf(d->d_name, "exec-%u.%d", &id, &stream) == 2 && !exec_io_find(s, id))
			entry_new(s, id);
	if (dir)
		closedir(dir);
	else
		fd_close(&fd);
}

void exec_io_recover(struct shim *s)
{
	recover_files(s);
	for (struct exec_io *e = s->exec_ios; e; e = e->next)
		for (int i = 0; i < LOG_STREAMS; i++) {
			bool open = e->out[i].fd >= 0;

			if (file_open(e, i, 0) == 0 && open)
				watch(e, i);
		}
}

int exec_io_each(struct shim *s, int (*give)(void *ctx, uint64_t key, int fd), void *ctx)
{
	int r = 0;

	for (struct exec_io *e = s->exec_ios; e; e = e->next) {
		const int fds[KEYS] = {
			e->in, source(e, &e->out[0]), source(e, &e->out[1]), e->pipe_in};

		for (unsigned k = 0; r == 0 && k < KEYS; k++)
			r = give(ctx, key_of(e, k), fds[k]);
	}
	return r;
}

void exec_io_halt(struct shim *s)
{
	loop_timer_cancel(&s->exec_retry);
	for (struct exec_io *e = s->exec_ios; e; e = e->next)
		for (int i = 0; i < LOG_STREAMS; i++)
			if (e->out[i].io.loop && e->out[i].io.fd >= 0)
				loop_io_want(&e->out[i].io, false, false);
}

void exec_io_finish(struct shim *s)
{
	loop_timer_cancel(&s->exec_retry);
	while (s->exec_ios)
		entry_free(s->exec_ios);
}
