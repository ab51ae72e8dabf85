#include "ipc/health_msg.h"

#include "ipc/msg.h"

static char *unconst(const char *text)
{
	return (char *)(uintptr_t)text; /* packing does not write to it */
}

static void one(struct health_msg *h, uint32_t i, const struct probe_conf *conf,
	const struct probe_state *st)
{
	Holdfast__V1__Probe *m = &h->probes[i];
	char text[PROBE_WORDS + 96];

	holdfast__v1__probe__init(m);
	probe_target(conf, text, sizeof(text));
	msg_text(h->target[i], sizeof(h->target[i]), text);
	msg_text(h->why[i], sizeof(h->why[i]), st->why);
	m->kind = unconst(probe_kind_name(conf->kind));
	m->target = h->target[i];
	m->standing = unconst(probe_standing_name(st->standing));
	m->failures = st->bad;
	m->passed = st->passed;
	m->failed = st->failed;
	m->took_usec = st->took_usec;
	m->reason = h->why[i];
	h->list[i] = m;
}

void health_to_msg(struct health_msg *h, Holdfast__V1__GetStateResponse *m,
	const struct health_conf *conf, const struct health_state *st, bool running)
{
	m->health = unconst(health_verdict_name(running && st ? st->verdict : HEALTH_NONE));
	m->ready = running && (!st || st->ready);
	if (!st)
		return;
	msg_text(h->status, sizeof(h->status), st->status);
	m->status = h->status;
	m->service = unconst(service_said_name(st->said));
	m->probes = h->list;
	for (uint32_t i = 0; conf && i < conf->count; i++)
		one(h, i, &conf->probes[i], &st->probes[i]);
	m->n_probes = conf ? conf->count : 0;
}
