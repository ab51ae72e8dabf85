#include "ipc/post_mortem_msg.h"

#include "ipc/base/mem.h"
#include "ipc/event_msg.h"
#include "ipc/msg.h"

static const struct {
	uint32_t bit;
	const char *name;
} names[] = {
	{POST_MORTEM_PEAK, "memory_peak"},
	{POST_MORTEM_EVENTS, "memory_events"},
	{POST_MORTEM_OOM_KILL, "memory_oom_kill"},
	{POST_MORTEM_PRESSURE, "memory_pressure"},
	{POST_MORTEM_THROTTLED, "cpu_throttled"},
	{POST_MORTEM_TAIL, "last_output"},
};

static void counters_to_msg(Holdfast__V1__PostMortemRecord *m, const struct counters *c)
{
	m->memory_high = c->memory_high;
	m->memory_max = c->memory_max;
	m->memory_oom = c->memory_oom;
	m->memory_oom_kill = c->memory_oom_kill;
	m->memory_some_usec = c->memory_some_usec;
	m->memory_full_usec = c->memory_full_usec;
	m->cpu_throttled_usec = c->throttled_usec;
}

void post_mortem_to_msg(struct post_mortem_msg *ret, const struct post_mortem_full *p)
{
	Holdfast__V1__PostMortemRecord *m = &ret->record;
	uint32_t has = p->head.has | p->head.grown.has;

	holdfast__v1__post_mortem_record__init(m);
	event_exit(&ret->exit, &p->head.exit);
	m->exit = &ret->exit;
	m->memory_peak_bytes = p->head.memory_peak;
	counters_to_msg(m, &p->head.grown);
	msg_text(ret->cause, sizeof(ret->cause), p->head.cause);
	msg_text(ret->by, sizeof(ret->by), p->head.by);
	m->cause = ret->cause;
	m->by = ret->by;
	m->last_output.data = (uint8_t *)(uintptr_t)p->output; /* packing does not write to it */
	m->last_output.len = p->head.output_len;
	m->available = ret->available;
	for (size_t i = 0; i < array_size(names); i++)
		if (has & names[i].bit)
			ret->available[m->n_available++] = (char *)(uintptr_t)names[i].name;
}
