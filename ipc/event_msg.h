/* Journal records as events of the API, and the states of a container's life as its phases. */
#pragma once

#include "ipc/history.h"
#include "ipc/proto/holdfast/v1/supervisor.pb-c.h"

/* Everything that an Event points to, in memory of its own. */
struct event_msg {
	Holdfast__V1__Event event;
	union {
		Holdfast__V1__Exit exit;
		Holdfast__V1__Started started;
		Holdfast__V1__LaunchFailed launch_failed;
		Holdfast__V1__StopAsked stop;
		Holdfast__V1__Supervising supervisor;
		Holdfast__V1__OutputLost output_lost;
		Holdfast__V1__Waiting waiting;
		Holdfast__V1__HealthChange health;
		Holdfast__V1__ExecStarted exec_started;
		Holdfast__V1__RuleAct rule;
		struct {
			Holdfast__V1__ExecExited exec_exited;
			Holdfast__V1__Exit exec_exit;
		};
	} detail;
	char text[1040], step[40];
	char rule[4][168];
};

/* The record as an event. A record of a type that is not for clients still has its sequence, type
 * EVENT_UNSPECIFIED. e must stay where it is while the event is used. */
void event_from_record(struct event_msg *e, const struct record *r);

/* "missed" events up to and with `sequence` are no longer kept. */
void event_gap(struct event_msg *e, uint64_t sequence, uint64_t missed);

void event_exit(Holdfast__V1__Exit *ret, const struct exit_info *x);

/* "watchdog", "liveness"; "" for one of a later release. */
const char *health_source_name(uint32_t source, uint32_t kind);

Holdfast__V1__Phase event_phase(enum life_state s);
