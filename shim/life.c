#include "shim/life.h"

#include <stdbool.h>

struct cell {
	bool known;
	enum life_phase next;
	uint32_t actions;
};

#define TO(phase, acts)                     \
	{                                   \
		true, PHASE_##phase, (acts) \
	}

/* A run that ends is the same news in every phase in which one can be alive. */
#define ENDS                                                                            \
	[LIFE_ON_EXIT_AGAIN] = TO(DELAY, 0), [LIFE_ON_EXIT_FRESH] = TO(LEAVE_FRESH, 0), \
	[LIFE_ON_EXIT_DOWN] = TO(LEAVE_DOWN, 0), [LIFE_ON_INIT_GONE] = TO(DECIDE, ACT_DECIDE)

static const struct cell table[PHASES][LIFE_EVENTS] = {
	[PHASE_NEW] =
		{
			[LIFE_ON_START] = TO(LAUNCHING, ACT_LAUNCH),
			[LIFE_ON_STOP] = TO(DOWN, ACT_DOWN),
		},
	[PHASE_LAUNCHING] =
		{
			[LIFE_ON_LAUNCHED] = TO(STARTING, ACT_START),
			[LIFE_ON_LAUNCH_FAILED] = TO(DECIDE, ACT_FAILED),
			[LIFE_ON_STOP] = TO(ABORTING, ACT_ABORT),
		},
	[PHASE_ABORTING] =
		{
			[LIFE_ON_LAUNCHED] = TO(LEAVE_DOWN, ACT_KILL),
			[LIFE_ON_LAUNCH_FAILED] = TO(CLEAN_DOWN, ACT_CLEAN),
			[LIFE_ON_STOP] = TO(ABORTING, ACT_ABORT), /* it had not begun, perhaps */
		},
	[PHASE_STARTING] =
		{
			[LIFE_ON_STARTED] = TO(RUNNING, ACT_ANNOUNCE),
			[LIFE_ON_STOP] = TO(STOPPING, ACT_STOP),
			ENDS,
		},
	[PHASE_RUNNING] =
		{
			[LIFE_ON_STARTED] = TO(
				RUNNING, ACT_ANNOUNCE), /* again: the exit between was read late */
			[LIFE_ON_STOP] = TO(STOPPING, ACT_STOP),
			ENDS,
		},
	[PHASE_DELAY] =
		{
			[LIFE_ON_STARTED] = TO(RUNNING, ACT_ANNOUNCE),
			[LIFE_ON_STOP] = TO(STOPPING, ACT_STOP),
			ENDS,
		},
	[PHASE_STOPPING] =
		{
			[LIFE_ON_STOP] =
				TO(STOPPING, ACT_STOP), /* a second stop may be a harder one */
			[LIFE_ON_EXIT_FRESH] = TO(LEAVE_DOWN, 0),
			[LIFE_ON_EXIT_DOWN] = TO(LEAVE_DOWN, 0),
			[LIFE_ON_INIT_GONE] = TO(DECIDE, ACT_DECIDE),
		},
	[PHASE_LEAVE_DOWN] =
		{
			[LIFE_ON_STOP] =
				TO(LEAVE_DOWN, ACT_KILL), /* it takes too long for somebody */
			[LIFE_ON_INIT_GONE] = TO(CLEAN_DOWN, ACT_CLEAN),
		},
	[PHASE_LEAVE_FRESH] =
		{
			[LIFE_ON_STOP] = TO(LEAVE_DOWN, 0),
			[LIFE_ON_INIT_GONE] = TO(CLEAN_FRESH, ACT_CLEAN),
		},
	[PHASE_DECIDE] =
		{
			[LIFE_ON_EXIT_FRESH] = TO(CLEAN_FRESH, ACT_CLEAN),
			[LIFE_ON_EXIT_DOWN] = TO(CLEAN_DOWN, ACT_CLEAN),
		},
	[PHASE_CLEAN_DOWN] =
		{
			[LIFE_ON_CLEAN] = TO(DOWN, ACT_DOWN),
		},
	[PHASE_CLEAN_FRESH] =
		{
			[LIFE_ON_STOP] = TO(CLEAN_DOWN, 0),
			[LIFE_ON_CLEAN] = TO(FRESH_DELAY, ACT_DELAY),
		},
	[PHASE_FRESH_DELAY] =
		{
			[LIFE_ON_TIMER] = TO(LAUNCHING, ACT_LAUNCH),
			[LIFE_ON_STOP] = TO(DOWN, ACT_DOWN),
		},
	[PHASE_DOWN] = {{false}},
};

struct life_step life_step(enum life_phase phase, enum life_event event)
{
	const struct cell *c = &table[phase][event];

	if (!c->known)
		return (struct life_step){.next = phase};
	return (struct life_step){.next = c->next, .actions = c->actions};
}

const char *phase_name(enum life_phase phase)
{
	static const char *const names[PHASES] = {
		[PHASE_NEW] = "new",
		[PHASE_LAUNCHING] = "launching",
		[PHASE_ABORTING] = "aborting",
		[PHASE_STARTING] = "starting",
		[PHASE_RUNNING] = "running",
		[PHASE_DELAY] = "delay",
		[PHASE_STOPPING] = "stopping",
		[PHASE_LEAVE_DOWN] = "leave-down",
		[PHASE_LEAVE_FRESH] = "leave-fresh",
		[PHASE_DECIDE] = "decide",
		[PHASE_CLEAN_DOWN] = "clean-down",
		[PHASE_CLEAN_FRESH] = "clean-fresh",
		[PHASE_FRESH_DELAY] = "fresh-delay",
		[PHASE_DOWN] = "down",
	};

	return (unsigned)phase < PHASES ? names[phase] : "?";
}

const char *life_event_name(enum life_event event)
{
	static const char *const names[LIFE_EVENTS] = {
		[LIFE_ON_START] = "start",
		[LIFE_ON_LAUNCHED] = "launched",
		[LIFE_ON_LAUNCH_FAILED] = "launch-failed",
		[LIFE_ON_STARTED] = "started",
		[LIFE_ON_EXIT_AGAIN] = "exit-again",
		[LIFE_ON_EXIT_FRESH] = "exit-fresh",
		[LIFE_ON_EXIT_DOWN] = "exit-down",
		[LIFE_ON_INIT_GONE] = "init-gone",
		[LIFE_ON_CLEAN] = "clean",
		[LIFE_ON_TIMER] = "timer",
		[LIFE_ON_STOP] = "stop",
	};

	return (unsigned)event < LIFE_EVENTS ? names[event] : "?";
}
