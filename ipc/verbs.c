#include "ipc/verbs.h"

#include "ipc/exec_plan.h"

#define EXACT(t) sizeof(t), sizeof(t)

/* The one place that says who may say what. */
static const struct verb table[] = {
	{INIT_START, FROM_SHIM, 0, 0, 0},
	{INIT_SIGNAL, FROM_SHIM, 0, EXACT(struct signal_req)},
	{INIT_STOP, FROM_SHIM, 0, EXACT(struct stop_req)},
	{INIT_RESTART, FROM_SHIM, 0, EXACT(struct stop_req)},
	{INIT_HOLD, FROM_SHIM, 0, EXACT(struct u32_req)},
	{INIT_ACK, FROM_SHIM, 0, sizeof(struct u64_req), sizeof(struct ack_req)},
	{INIT_DRAINED, FROM_SHIM, 0, EXACT(struct u32_req)},
	{INIT_SYNC, FROM_SHIM, 0, 0, 0},
	{INIT_READY, FROM_SHIM, 0, 0, 0},
	{INIT_STORE, FROM_SHIM, 1, EXACT(struct store_req)},
	{INIT_UNSTORE, FROM_SHIM, 0, EXACT(struct u64_req)},
	{INIT_POLICY, FROM_SHIM, 0, EXACT(struct policy_conf)},
	{INIT_EXEC, FROM_SHIM, EXEC_FDS, EXACT(struct u64_req)},
	{INIT_KEEP, FROM_SHIM, 1, EXACT(struct held)},
	{INIT_UNKEEP, FROM_SHIM, 0, EXACT(struct held)},
	{INIT_HAND, FROM_SHIM, 0, EXACT(struct u32_req)},
	{INIT_SPOOLED, FROM_SHIM, 0, 0, 0},

	{INIT_HELLO, FROM_INIT, 0, EXACT(struct init_hello)},
	{INIT_REPLY, FROM_INIT, 0, EXACT(struct reply)},
	{INIT_PIPES, FROM_INIT, 2, EXACT(struct init_pipes)},
	{INIT_STARTED, FROM_INIT, 1, EXACT(struct init_started)},
	{INIT_RECORD, FROM_INIT, 0, EXACT(struct u64_req)},
	{INIT_WAITING, FROM_INIT, 0, EXACT(struct init_waiting)},
	{INIT_EXECED, FROM_INIT, 1, EXACT(struct init_execed)},
	{INIT_HANDED, FROM_INIT, 1, EXACT(struct held)},
	{INIT_BELL, FROM_INIT, 1, 0, 0},

	{KEEPER_READY, FROM_SHIM, 0, 0, 0},
	{KEEPER_HOLD, FROM_SHIM, 1, EXACT(struct held)},
	{KEEPER_DROP, FROM_SHIM, 0, EXACT(struct held)},
	{KEEPER_LAUNCH, FROM_SHIM, 0, EXACT(struct launch_req)},
	{KEEPER_REAP_ACK, FROM_SHIM, 0, EXACT(struct u64_req)},
	{KEEPER_KILL, FROM_SHIM, 0, EXACT(struct u64_req)},
	{KEEPER_RETIRE, FROM_SHIM, 0, 0, 0},

	{KEEPER_HELLO, FROM_KEEPER, 0, EXACT(struct keeper_hello)},
	{KEEPER_HELD, FROM_KEEPER, 1, EXACT(struct held)},
	{KEEPER_HELD_END, FROM_KEEPER, 0, 0, 0},
	{KEEPER_CONN, FROM_KEEPER, 1, EXACT(struct held_conn)},
	{KEEPER_LAUNCHED, FROM_KEEPER, 0, EXACT(struct launch_result)},
	{KEEPER_REAPED, FROM_KEEPER, 0, EXACT(struct reaped)},

	{LAUNCH_HOLD, FROM_LAUNCH, 1, EXACT(struct held)},
	{LAUNCH_RESULT, FROM_LAUNCH, 0, EXACT(struct launch_result)},

	{CLIENT_START, FROM_CLIENT, 0, 0, 0},
	{CLIENT_STATE, FROM_CLIENT, 0, 0, 0},
	{CLIENT_SIGNAL, FROM_CLIENT, 0, EXACT(struct signal_req)},
	{CLIENT_STOP, FROM_CLIENT, 0, EXACT(struct stop_req)},
	{CLIENT_RESTART, FROM_CLIENT, 0, EXACT(struct stop_req)},
	{CLIENT_WAIT, FROM_CLIENT, 0, 0, 0},
	{CLIENT_STDIN, FROM_CLIENT, 0, sizeof(struct stdin_frame) + 1,
		sizeof(struct stdin_frame) + STDIN_BYTES_MAX},
	{CLIENT_STDIN_EOF, FROM_CLIENT, 0, 0, 0},
	{CLIENT_WINSIZE, FROM_CLIENT, 0, EXACT(struct winsize_req)},
	{CLIENT_REMOVE, FROM_CLIENT, 0, EXACT(struct u32_req)},
	{CLIENT_EXEC, FROM_CLIENT, EXEC_FDS, EXACT(struct exec_req)},
	{CLIENT_EXEC_WAIT, FROM_CLIENT, 0, 0, 0},

	{CLIENT_REPLY, FROM_SHIM, 0, EXACT(struct reply)},
	{CLIENT_STARTED, FROM_SHIM, 0, EXACT(struct client_started)},
	{CLIENT_FAILED, FROM_SHIM, 0, EXACT(struct launch_result)},
	{CLIENT_STATE_IS, FROM_SHIM, 0, EXACT(struct client_state)},
	{CLIENT_EXITED, FROM_SHIM, 0, EXACT(struct exit_info)},
	{CLIENT_PROGRESS, FROM_SHIM, 0, EXACT(struct client_progress)},
	{CLIENT_TAKEOVER, FROM_SHIM, 0, 0, 0},
	{CLIENT_READY, FROM_SHIM, 0, 0, 0},
	{CLIENT_EXECED, FROM_SHIM, 1, EXACT(struct client_execed)},
	{CLIENT_EXEC_ENDED, FROM_SHIM, 0, EXACT(struct exec_end)},
};

static const struct verb *verb_find(uint16_t id)
{
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].id == id)
			return &table[i];
	return 0;
}

const struct verb *verb_check(enum verb_from from, const struct msg *h)
{
	const struct verb *v = verb_find(h->verb);

	if (!v || v->from != from || h->nfds != v->fds)
		return 0;
	return h->len >= v->min && h->len <= v->max ? v : 0;
}
