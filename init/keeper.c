/* The keeper: one poll loop over its children, the listening socket, the shim's channel and a
 * launch's channel. What the shim must know is kept as state with a `told` mark each, and sent
 * whenever the channel takes it: a new shim simply starts with all marks cleared, so nothing is
 * lost when a shim dies at any instant, and a slow one delays nobody. */
#include "init/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init/birth.h"
#include "ipc/base/clock.h"
#include "ipc/fds.h"
#include "ipc/shared.h"

#define BACKOFF_FIRST_USEC (10 * USEC_PER_MSEC)
#define BACKOFF_MAX_USEC   (5 * USEC_PER_SEC)

struct keeper keeper; /* zero until boot: not one page of the file's data */

/* Boot ------------------------------------------------------------------------------------------
 */

static int open_signals(void)
{
	sigset_t set;

	sigfillset(&set);
	sigdelset(&set, SIGSEGV);
	sigdelset(&set, SIGBUS);
	sigdelset(&set, SIGILL);
	sigdelset(&set, SIGFPE);
	sigdelset(&set, SIGABRT);
	sigdelset(&set, SIGTRAP);
	sigdelset(&set, SIGSYS);
	if (sigprocmask(SIG_SETMASK, &set, 0) < 0)
		return -errno;
	/* Only SIGCHLD is read. The rest stays blocked: a keeper ends when its work does. */
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	keeper.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return keeper.signals < 0 ? -errno : 0;
}

/* A shim whose keeper died hands over all it holds, then says READY. Whoever adopts a container
 * whose pair has died does the same with what PID 1 has handed out; only sockets are not there. */
static int inherit(void)
{
	struct packet *p = &keeper.packet;
	int r;

	while ((r = channel_recv(KEEPER_FD_INHERIT, p, 0)) > 0) {
		struct held name;

		if (p->h.verb == KEEPER_READY) {
			if (p->h.tag > keeper.next_conn)
				keeper.next_conn = p->h.tag;
			break;
		}
		if (p->h.verb == KEEPER_CONN && verb_check(FROM_KEEPER, &p->h)) {
			struct held_conn *c = (void *)p->body;
			struct store_slot *slot;

			name = (struct held){.kind = HELD_CONN, .key = c->id};
			store_put(&keeper.store, name, packet_take_fd(p, 0), false);
			slot = store_find(&keeper.store, HELD_CONN, c->id);
			if (slot)
				slot->peer = *c;
			if (c->id >= keeper.next_conn)
				keeper.next_conn = c->id + 1;
		} else if (verb_check(FROM_SHIM, &p->h) && p->h.verb == KEEPER_HOLD) {
			memcpy(&name, p->body, sizeof(name));
			store_put(&keeper.store, name, packet_take_fd(p, 0), false);
		}
		packet_finish(p);
	}
	close(KEEPER_FD_INHERIT);
	return r > 0 ? 0 : -EPIPE; /* handed over only in part: the shim will make another keeper */
}

static int boot(bool inherits)
{
	int r;

	keeper.signals = keeper.shim_channel = keeper.launch_channel = keeper.launch_init = -1;
	if (!inherits)
		brood_close_from(KEEPER_FD_INHERIT);
	else
		brood_close_from(KEEPER_FD_LIMIT);
	r = open_signals();
	if (r == 0 && inherits)
		r = inherit();
	keeper.adopted = inherits && !store_find(&keeper.store, HELD_LISTENER, SOCKET_TOOL);
	if (r == 0 && (!inherits || keeper.adopted))
		r = birth_listeners(&keeper.store);
	if (r == 0 && !store_find(&keeper.store, HELD_SHARED, 0))
		r = birth_shared(&keeper.store);
	for (unsigned i = 0; i < SOCKETS; i++) {
		const struct store_slot *slot = store_find(&keeper.store, HELD_LISTENER, i);

		/* a predecessor of an older release has but the first */
		keeper.listeners[i] = slot ? slot->fd : -1;
	}
	return r < 0 ? r : keeper.listeners[SOCKET_TOOL] < 0 ? -EBADF : 0;
}

/* The shim ----------------------------------------------------------------------------------------
 */

static void read_shim(void);

static void spawn_shim(void)
{
	const int give[] = {-1, KEEPER_FD_STATE, KEEPER_FD_LOCK, KEEPER_FD_SHIM_EXE,
		KEEPER_FD_LAUNCH_EXE, KEEPER_FD_SELF_EXE, KEEPER_FD_INIT_EXE};
	int fds[sizeof(give) / sizeof(give[0])], pair[2];

	keeper.revive_at = now_mono() + keeper.backoff_usec + 1; /* should it not come to life */
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return;
	memcpy(fds, give, sizeof(fds));
	fds[0] = pair[1];
	if (brood_spawn(&keeper.brood, CHILD_SHIM, KEEPER_FD_SHIM_EXE, "holdfast-shim", keeper.id,
		    fds, sizeof(fds) / sizeof(fds[0])) < 0) {
		close(pair[0]);
	} else {
		keeper.shim_channel = pair[0];
		keeper.revive_at = 0;
	}
	close(pair[1]);
	keeper.hello_told = keeper.end_told = keeper.shim_ready = false;
	keeper.launched_told = !keeper.have_result;
	store_untell(&keeper.store);
	brood_untell(&keeper.brood);
	brood_write_status(&keeper.brood, keeper.revivals);
}

bool keeper_finds(const char *name)
{
	return syscall(SYS_faccessat, KEEPER_FD_STATE, name, F_OK) == 0;
}

/* A shim that was killed over the last step of taking everything away: what it had renamed and
 * emptied goes (shim/retire.c). Of anything else there is none by that name, or it is not empty. */
static void remove_emptied(void)
{
	char path[256] = "../.";

	if (strlcat(path, keeper.id, sizeof(path)) < sizeof(path) &&
		strlcat(path, ".gone", sizeof(path)) < sizeof(path))
		syscall(SYS_unlinkat, KEEPER_FD_STATE, path, AT_REMOVEDIR);
}

static void shim_died(void)
{
	if (keeper.shim_channel >= 0)
		read_shim(); /* its last words: what it deposited must not be lost with it */
	if (keeper.shim_channel >= 0)
		close(keeper.shim_channel);
	keeper.shim_channel = -1;
	if (keeper.retiring || !keeper_finds("enabled")) {
		remove_emptied();
		keeper.leaving = true;
		return;
	}
	/* Killed after READY: the next one at once. One that never gets ready must not spin. */
	keeper.backoff_usec = keeper.shim_ready				   ? 0
			      : keeper.backoff_usec == 0		   ? BACKOFF_FIRST_USEC
			      : keeper.backoff_usec * 2 < BACKOFF_MAX_USEC ? keeper.backoff_usec * 2
									   : BACKOFF_MAX_USEC;
	keeper.revivals++;
	keeper.revive_at = now_mono() + keeper.backoff_usec;
}

/* 0: told; < 0: the channel does not take it now. */
static int say(uint16_t verb, const void *body, size_t len, const int *fd)
{
	return channel_send(keeper.shim_channel, verb, 0, body, len, fd, fd ? 1 : 0);
}

static int tell_hello(void)
{
	struct keeper_hello h = {
		.version = 1,
		.keeper_pid = getpid(),
		.revivals = keeper.revivals,
		.adopted = keeper.adopted && !keeper.revivals,
		.launching = keeper.launch_told ? brood_pid(&keeper.brood, CHILD_LAUNCH) : 0,
		.launch_nonce =
			keeper.next_launch.nonce ? keeper.next_launch.nonce : keeper.launch.nonce,
	};

	return say(KEEPER_HELLO, &h, sizeof(h), 0);
}

static int tell_held(struct store_slot *slot)
{
	if (slot->name.kind == HELD_CONN)
		return say(KEEPER_CONN, &slot->peer, sizeof(slot->peer), &slot->fd);
	return say(KEEPER_HELD, &slot->name, sizeof(slot->name), &slot->fd);
}

/* Sends all that has not been told, in the order that the shim expects. Returns true when something
 * is left because the channel is full. */
static bool tell(void)
{
	if (keeper.shim_channel < 0)
		return false;
	if (!keeper.hello_told && tell_hello() < 0)
		return true;
	keeper.hello_told = true;
	for (unsigned i = STORE_MAX; i-- > store_first(&keeper.store);) {
		struct store_slot *slot = &keeper.store.slots[i];

		if (!slot->name.kind || slot->told)
			continue;
		if (tell_held(slot) < 0)
			return true;
		slot->told = true;
	}
	if (!keeper.end_told && say(KEEPER_HELD_END, 0, 0, 0) < 0)
		return true;
	keeper.end_told = true;
	if (!keeper.launched_told && keeper.have_result) {
		if (say(KEEPER_LAUNCHED, &keeper.result, sizeof(keeper.result), 0) < 0)
			return true;
		keeper.launched_told = true;
	}
	for (unsigned i = 0; i < KEEPER_CHILDREN_MAX; i++) {
		struct brood_child *c = &keeper.brood.children[i];

		if (!c->done || c->told || c->end.kind != CHILD_INIT)
			continue;
		if (c->end.nonce == keeper.launch.nonce && !keeper.have_result)
			continue; /* its birth is told first */
		if (say(KEEPER_REAPED, &c->end, sizeof(c->end), 0) < 0)
			return true;
		c->told = true;
	}
	return false;
}

/* Requests of the shim --------------------------------------------------------------------------
 */

static void on_ready(struct packet *p)
{
	keeper.shim_ready = true;
	keeper.backoff_usec = 0;
}

static void on_hold(struct packet *p)
{
	struct held name;

	memcpy(&name, p->body, sizeof(name));
	store_put(&keeper.store, name, packet_take_fd(p, 0), true); /* the shim has its own */
}

static void on_drop(struct packet *p)
{
	struct held name;

	memcpy(&name, p->body, sizeof(name));
	if (name.kind == HELD_LISTENER && name.key < SOCKETS)
		keeper.listeners[name.key] = -1;
	store_drop(&keeper.store, name);
}

static void on_reap_ack(struct packet *p)
{
	struct u64_req r;

	memcpy(&r, p->body, sizeof(r));
	brood_forget(&keeper.brood, r.value);
}

static void on_kill(struct packet *p)
{
	struct u64_req r;

	memcpy(&r, p->body, sizeof(r));
	brood_kill(&keeper.brood, r.value);
}

static void on_retire(struct packet *p)
{
	keeper.retiring = true;
}

static const struct {
	uint16_t verb;
	void (*handle)(struct packet *p);
} handlers[] = {
	{KEEPER_READY, on_ready},
	{KEEPER_HOLD, on_hold},
	{KEEPER_DROP, on_drop},
	{KEEPER_LAUNCH, launches_asked},
	{KEEPER_REAP_ACK, on_reap_ack},
	{KEEPER_KILL, on_kill},
	{KEEPER_RETIRE, on_retire},
};

static void read_shim(void)
{
	struct packet *p = &keeper.packet;
	int r;

	while ((r = channel_recv(keeper.shim_channel, p, 1)) != -EAGAIN) {
		if (r > 0) {
			for (unsigned i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++)
				if (handlers[i].verb == p->h.verb && verb_check(FROM_SHIM, &p->h))
					handlers[i].handle(p);
			packet_finish(p);
		} else if (r != -EBADMSG) {
			/* it has closed or died; what to do is decided when it is reaped */
			close(keeper.shim_channel);
			keeper.shim_channel = -1;
			return;
		}
	}
}

/* The loop --------------------------------------------------------------------------------------
 */

static void accept_clients(enum container_socket from)
{
	while (store_takes(&keeper.store, from)) {
		int fd = accept4(keeper.listeners[from], 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK);
		struct held name = {.kind = HELD_CONN, .key = ++keeper.next_conn};
		struct store_slot *slot;
		struct ucred cred;
		socklen_t len = sizeof(cred);

		if (fd < 0)
			return;
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0) {
			close(fd);
			continue;
		}
		if (store_put(&keeper.store, name, fd, false) < 0)
			continue;
		slot = store_find(&keeper.store, HELD_CONN, name.key);
		slot->peer.pid = cred.pid;
		slot->peer.uid = cred.uid;
		slot->peer.gid = cred.gid;
		slot->peer.socket = from;
	}
}

static void reap(void)
{
	struct signalfd_siginfo info[4];

	while (read(keeper.signals, info, sizeof(info)) > 0)
		;
	launches_drain(); /* what a dead launch has said comes before its death */
	for (;;) {
		switch (brood_reap(&keeper.brood, keeper.launch.nonce)) {
		case BROOD_NONE:
			return;
		case BROOD_SHIM:
			shim_died();
			break;
		case BROOD_LAUNCH:
			launches_died();
			break;
		case BROOD_OTHER:
			break;
		}
	}
}

static int poll_timeout(void)
{
	uint64_t now;

	if (!keeper.revive_at)
		return -1;
	now = now_mono();
	return now >= keeper.revive_at ? 0 : (int)((keeper.revive_at - now) / USEC_PER_MSEC) + 1;
}

static void serve(void)
{
	while (!keeper.leaving) {
		bool full = tell();
		struct pollfd fds[3 + SOCKETS] = {
			{.fd = keeper.signals, .events = POLLIN},
			{.fd = keeper.shim_channel,
				.events = (short)(full ? POLLIN | POLLOUT : POLLIN)},
			{.fd = keeper.launch_channel, .events = POLLIN},
		};

		for (unsigned i = 0; i < SOCKETS; i++) {
			bool room = !keeper.retiring && store_takes(&keeper.store, i);

			fds[3 + i] = (struct pollfd){
				.fd = room ? keeper.listeners[i] : -1, .events = POLLIN};
		}

		if (poll(fds, sizeof(fds) / sizeof(fds[0]), poll_timeout()) < 0)
			continue;
		if (fds[1].revents & (POLLIN | POLLHUP | POLLERR))
			read_shim();
		if (fds[2].revents)
			launches_drain();
		for (int i = 0; i < SOCKETS; i++)
			if (fds[3 + i].revents)
				accept_clients((enum container_socket)i);
		if (fds[0].revents)
			reap();
		if (keeper.revive_at && now_mono() >= keeper.revive_at)
			spawn_shim();
	}
}

int main(int argc, char **argv)
{
	static const char by_hand[] = "holdfast-keeper: started by holdfast run only\n";
	bool inherits = fcntl(KEEPER_FD_INHERIT, F_GETFD) >= 0;
	int r;

	if (argc != 2 || fcntl(KEEPER_FD_STATE, F_GETFD) < 0)
		return write(STDERR_FILENO, by_hand, sizeof(by_hand) - 1) < 0 ? 125 : 64;
	keeper.id = argv[1];
	prctl(PR_SET_NAME, "holdfast-keeper"); /* exec by descriptor leaves another name there */
	r = boot(inherits);
	if (r < 0) {
		brood_complain("cannot boot", -r);
		return 125;
	}
	spawn_shim();
	if (!inherits)
		launches_ahead();
	if (write(KEEPER_FD_READY, "R", 1) < 0)
		brood_complain("nobody waits for it", errno);
	close(KEEPER_FD_READY);
	serve();
	/* What a launch left behind is in our own group until it is dead and reaped. */
	if (keeper.retiring)
		brood_end(&keeper.brood);
	/* A socket file without a listener would make clients wait for nobody. The shim has removed
	 * it or the whole directory when it retired. */
	brood_leave_cgroup();
	return 0;
}
