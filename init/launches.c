/* The keeper's launches, one at a time. The first is started before any shim asks for it: it reads
 * config.json while the shim boots, and touches nothing of the world before it is told its nonce.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "init/keeper.h"
#include "ipc/fds.h"

static void launch_failed(int err, const char *text)
{
	keeper.result = (struct launch_result){
		.nonce = keeper.launch.nonce,
		.outcome = LAUNCH_FAILED,
		.err = err,
		.step = "launch",
	};
	strncpy(keeper.result.text, text, sizeof(keeper.result.text) - 1);
	keeper.have_result = true;
	keeper.launched_told = false;
}

static int start_launch(int channel, int init_end)
{
	const struct store_slot *shared = store_find(&keeper.store, HELD_SHARED, 0);
	int fds[] = {
		channel, KEEPER_FD_STATE, init_end, shared ? shared->fd : -1, KEEPER_FD_INIT_EXE};

	if (!shared)
		return -EBADF;
	return brood_spawn(&keeper.brood, CHILD_LAUNCH, KEEPER_FD_LAUNCH_EXE, "holdfast-launch",
		keeper.id, fds, sizeof(fds) / sizeof(fds[0]));
}

/* It reads config.json, and then waits to be told. */
static int spawn_launch(void)
{
	int channel[2] = {-1, -1}, init[2] = {-1, -1}, r = 0;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel) < 0 ||
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, init) < 0)
		r = -errno;
	if (r == 0)
		r = start_launch(channel[1], init[1]);
	if (r == 0) {
		keeper.launch_channel = channel[0];
		keeper.launch_init = init[0];
		channel[0] = init[0] = -1;
	}
	for (int i = 0; i < 2; i++) {
		if (channel[i] >= 0)
			close(channel[i]);
		if (init[i] >= 0)
			close(init[i]);
	}
	return r;
}

static void forget_launch(void)
{
	if (keeper.launch_channel >= 0)
		close(keeper.launch_channel);
	if (keeper.launch_init >= 0)
		close(keeper.launch_init);
	keeper.launch_channel = keeper.launch_init = -1;
}

/* What the service gets, and last which launch it is. */
static int tell_launch(uint64_t nonce)
{
	int channel = keeper.launch_channel, r = 0;

	for (unsigned i = store_first(&keeper.store); r == 0 && i < STORE_MAX; i++) {
		const struct store_slot *s = &keeper.store.slots[i];

		if (s->name.kind == HELD_LISTEN || s->name.kind == HELD_STORED)
			r = channel_send(
				channel, KEEPER_HELD, 0, &s->name, sizeof(s->name), &s->fd, 1);
	}
	return r == 0 ? channel_send(channel, KEEPER_HELD_END, nonce, 0, 0, 0, 0) : r;
}

static void begin_launch(struct launch_req req)
{
	bool ahead = keeper.launch_init >= 0;
	int r = ahead ? 0 : spawn_launch();

	if (r == 0)
		r = tell_launch(req.nonce);
	if (r < 0 && ahead) { /* it has died: another is begun when it is reaped */
		forget_launch();
		keeper.next_launch = req;
		return;
	}
	keeper.launch = req;
	keeper.have_result = false;
	if (r < 0) {
		forget_launch();
		launch_failed(r, "the keeper could not start the launch program");
		return;
	}
	keeper.launch_told = true;
	brood_name(&keeper.brood, CHILD_LAUNCH, req.nonce);
	/* Ours keeps the channel open while no shim lives: what init says waits in it. */
	store_put(
		&keeper.store, (struct held){.kind = HELD_INIT_CHANNEL}, keeper.launch_init, false);
	keeper.launch_init = -1;
}

/* One at a time: the program that made the sandbox before may not have been reaped yet. */
void launches_asked(struct packet *p)
{
	struct launch_req req;

	memcpy(&req, p->body, sizeof(req));
	if (req.nonce == keeper.launch.nonce)
		return; /* asked for by the predecessor too */
	if (brood_pid(&keeper.brood, CHILD_LAUNCH) && keeper.launch_init < 0)
		keeper.next_launch = req;
	else
		begin_launch(req);
}

/* A container that has never run, or is wanted up, is going to be launched. If that fails here
 * nothing is lost: the shim's request starts another. */
void launches_ahead(void)
{
	if (!keeper_finds("journal") || keeper_finds("start"))
		spawn_launch();
}

static void launch_packet(struct packet *p)
{
	struct held name;

	if (!verb_check(FROM_LAUNCH, &p->h))
		return;
	if (p->h.verb == LAUNCH_HOLD) {
		memcpy(&name, p->body, sizeof(name));
		store_put(&keeper.store, name, packet_take_fd(p, 0), false);
		return;
	}
	memcpy(&keeper.result, p->body, sizeof(keeper.result));
	keeper.result.nonce = keeper.launch.nonce;
	keeper.have_result = true;
	keeper.launched_told = false;
	if (keeper.result.outcome == LAUNCH_OK)
		brood_expect(&keeper.brood, keeper.result.pid, keeper.launch.nonce);
}

void launches_drain(void)
{
	int r;

	while (keeper.launch_channel >= 0) {
		r = channel_recv(keeper.launch_channel, &keeper.packet, 1);
		if (r == -EAGAIN)
			return;
		if (r > 0) {
			launch_packet(&keeper.packet);
			packet_finish(&keeper.packet);
		} else if (r != -EBADMSG) {
			forget_launch();
		}
	}
}

void launches_died(void)
{
	struct launch_req next = keeper.next_launch;

	launches_drain();
	if (keeper.launch_told && !keeper.have_result)
		launch_failed(-EIO, "the launch program died without a result");
	keeper.launch_told = false;
	if (keeper.launch_init >= 0) /* nobody had asked for it yet */
		forget_launch();
	keeper.next_launch.nonce = 0;
	if (next.nonce && next.nonce != keeper.launch.nonce)
		begin_launch(next);
}
