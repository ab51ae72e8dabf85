#include "ipc/verbs.h"

/* Apart from the table of verbs: the programs that must be tiny never print a name. */
static const struct {
	uint16_t id;
	const char *name;
} names[] = {
	{INIT_START, "init-start"},
	{INIT_SIGNAL, "init-signal"},
	{INIT_STOP, "init-stop"},
	{INIT_RESTART, "init-restart"},
	{INIT_HOLD, "init-hold"},
	{INIT_ACK, "init-ack"},
	{INIT_DRAINED, "init-drained"},
	{INIT_SYNC, "init-sync"},
	{INIT_READY, "init-ready"},
	{INIT_STORE, "init-store"},
	{INIT_UNSTORE, "init-unstore"},
	{INIT_POLICY, "init-policy"},
	{INIT_EXEC, "init-exec"},
	{INIT_KEEP, "init-keep"},
	{INIT_UNKEEP, "init-unkeep"},
	{INIT_HAND, "init-hand"},
	{INIT_SPOOLED, "init-spooled"},
	{INIT_HELLO, "init-hello"},
	{INIT_REPLY, "init-reply"},
	{INIT_PIPES, "init-pipes"},
	{INIT_STARTED, "init-started"},
	{INIT_RECORD, "init-record"},
	{INIT_WAITING, "init-waiting"},
	{INIT_EXECED, "init-execed"},
	{INIT_HANDED, "init-handed"},
	{INIT_BELL, "init-bell"},
	{KEEPER_READY, "keeper-ready"},
	{KEEPER_HOLD, "keeper-hold"},
	{KEEPER_DROP, "keeper-drop"},
	{KEEPER_LAUNCH, "keeper-launch"},
	{KEEPER_REAP_ACK, "keeper-reap-ack"},
	{KEEPER_KILL, "keeper-kill"},
	{KEEPER_RETIRE, "keeper-retire"},
	{KEEPER_HELLO, "keeper-hello"},
	{KEEPER_HELD, "keeper-held"},
	{KEEPER_HELD_END, "keeper-held-end"},
	{KEEPER_CONN, "keeper-conn"},
	{KEEPER_LAUNCHED, "keeper-launched"},
	{KEEPER_REAPED, "keeper-reaped"},
	{LAUNCH_HOLD, "launch-hold"},
	{LAUNCH_RESULT, "launch-result"},
	{CLIENT_START, "client-start"},
	{CLIENT_STATE, "client-state"},
	{CLIENT_SIGNAL, "client-signal"},
	{CLIENT_STOP, "client-stop"},
	{CLIENT_RESTART, "client-restart"},
	{CLIENT_WAIT, "client-wait"},
	{CLIENT_STDIN, "client-stdin"},
	{CLIENT_STDIN_EOF, "client-stdin-eof"},
	{CLIENT_WINSIZE, "client-winsize"},
	{CLIENT_REMOVE, "client-remove"},
	{CLIENT_EXEC, "client-exec"},
	{CLIENT_EXEC_WAIT, "client-exec-wait"},
	{CLIENT_REPLY, "client-reply"},
	{CLIENT_STARTED, "client-started"},
	{CLIENT_FAILED, "client-failed"},
	{CLIENT_STATE_IS, "client-state-is"},
	{CLIENT_EXITED, "client-exited"},
	{CLIENT_PROGRESS, "client-progress"},
	{CLIENT_TAKEOVER, "client-takeover"},
	{CLIENT_READY, "client-ready"},
	{CLIENT_EXECED, "client-execed"},
	{CLIENT_EXEC_ENDED, "client-exec-ended"},
};

const char *verb_name(uint16_t id)
{
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].id == id)
			return names[i].name;
	return "unknown";
}
