#include "init/ring.h"

#include <sys/types.h>
#include <unistd.h>

static uint64_t waiting(const struct shared *shared)
{
	return shared->head - shared->acked;
}

bool ring_full(const struct shared *shared)
{
	return waiting(shared) >= EXIT_SLOTS - 1;
}

bool ring_fills(const struct shared *shared)
{
	return waiting(shared) + 1 >= EXIT_SLOTS - 1;
}

/* The record is whole before the head says that it exists: a reader that sees the head sees it. A
 * slot that could not be written fails its sum, which readers take for a gap. */
static void put(struct shared *shared, int fd, struct exit_record *r)
{
	r->sum = exit_sum(r);
	if (pwrite(fd, r, sizeof(*r), (off_t)shared_slot(r->seq)) != (ssize_t)sizeof(*r))
		shared->dropped++;
	__atomic_store_n(&shared->head, r->seq, __ATOMIC_RELEASE);
}

static bool newest(struct shared *shared, int fd, struct exit_record *ret)
{
	return waiting(shared) > 0 &&
	       pread(fd, ret, sizeof(*ret), (off_t)shared_slot(shared->head)) ==
		       (ssize_t)sizeof(*ret) &&
	       ret->seq == shared->head && ret->sum == exit_sum(ret);
}

static bool same_end(const struct exit_record *a, const struct exit_record *b)
{
	const uint32_t told = EXIT_START_FAILED | EXIT_OOM_SEEN | EXIT_OOM_WHOSE | EXIT_OOM_OTHERS |
			      EXIT_STOPPED | EXIT_UNKNOWN;

	return a->kind == b->kind && a->code == b->code && a->signal == b->signal &&
	       a->errnum == b->errnum && (a->flags & told) == (b->flags & told);
}

/* r takes the place of the newest record and counts it in. */
static void put_over(
	struct shared *shared, int fd, struct exit_record *r, const struct exit_record *old)
{
	r->seq = old->seq;
	r->count = old->count + 1;
	r->boot_start = old->boot_start;
	put(shared, fd, r);
}

void ring_write(struct shared *shared, int fd, struct exit_record *r)
{
	struct exit_record old;

	r->count = 1;
	if (ring_full(shared) && r->kind == EXIT_OOM) {
		r->seq = shared->head; /* no exit, and the counters tell of it: no place of one is
					  its */
		return;
	}
	if (ring_full(shared) && newest(shared, fd, &old)) {
		if (same_end(&old, r)) {
			put_over(shared, fd, r, &old);
			return;
		}
		/* The gap carries the newest exit's status, for the case that it was the last. */
		r->kind = EXIT_GAP;
		if (old.kind == EXIT_GAP || waiting(shared) >= EXIT_SLOTS) {
			put_over(shared, fd, r, &old);
			return;
		}
	}
	r->seq = shared->head + 1;
	put(shared, fd, r);
}

bool ring_amend(struct shared *shared, int fd, struct exit_record *r)
{
	struct exit_record old;

	if (!newest(shared, fd, &old) || old.seq != r->seq || old.kind != EXIT_SERVICE)
		return false;
	put(shared, fd, r);
	return true;
}

bool ring_ack(struct shared *shared, int fd, uint64_t seq, uint32_t count)
{
	struct exit_record r;
	bool more;

	if (seq <= shared->acked || seq > shared->head)
		return false;
	more = count && seq == shared->head && newest(shared, fd, &r) && r.count > count;
	if (more) { /* first: killed in between, its place is not free yet */
		r.count -= count;
		r.seq = seq + 1;
		put(shared, fd, &r);
	}
	shared->acked = seq;
	return more;
}
