/* The ring of exit records, in memory that PID 1 of the container can write: whatever stands in it,
 * the journal goes on, numbers only rise, and an acknowledgement never runs ahead. */
#include "tests/fuzz/fuzz.h"

#include <unistd.h>

#include "tests/fuzz/shim_rig.h"

static struct rig rig;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	rig_open(&rig);
	return 0;
}

/* One slot: the tape's bytes, most often with a number and a sum that are right. */
static void fill(struct tape *t, uint64_t seq)
{
	uint8_t how = tape_byte(t);
	struct exit_record r = {0};
	size_t len;
	const uint8_t *p = tape_span(t, how & 1 ? sizeof(r) : 64, &len);

	memcpy(&r, p, len);
	if (!(how & 2))
		r.seq = seq;
	if (!(how & 4))
		r.kind = 1 + r.kind % 4;
	if (!(how & 8))
		r.code %= 256, r.signal %= 128;
	if (!(how & 16))
		r.sum = exit_sum(&r);
	claim(pwrite(rig.shim.shared_fd, &r, sizeof(r), (off_t)shared_slot(seq)) == sizeof(r));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tape t = {data, size};
	struct shim *s = &rig.shim;
	uint64_t head = 0;

	rig_reset(&rig);
	for (int i = 0; i < 16 && t.left > 0; i++) {
		uint8_t how = tape_byte(&t);
		uint64_t was = s->journal.now.exit_seq, acked = s->shared->acked;

		head = how & 128 ? tape_u64(&t) : head + how % 8;
		for (uint64_t n = how % 8; n > 0 && head >= n; n--)
			fill(&t, head - n + 1);
		s->shared->head = head;
		if (how & 64)
			tape_into(&t, &s->shared->policy, sizeof(s->shared->policy));
		exits_read(s, EXITS_ALL);
		claim(s->journal.now.exit_seq >= was);
		claim(s->journal.now.exit_seq - was <= EXIT_SLOTS || was < head);
		claim(s->shared->acked >= acked);
		claim(s->shared->acked <= s->journal.now.exit_seq || s->shared->acked == acked);
		if (how & 32)
			exits_decide(s);
		rig_drain(rig.init);
		rig_drain(rig.keeper);
	}
	return 0;
}
