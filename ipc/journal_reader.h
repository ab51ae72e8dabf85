/* Reads a container's journal from a place on, one record after the other: also while a supervisor
 * writes to it, and over its compaction, which puts another file in its place. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ipc/record.h"

struct journal_reader {
	int dirfd; /* not owned: the state directory */
	int fd;	   /* -1: none yet */
	struct journal_head head;
	uint64_t at;	 /* where the next record begins */
	uint64_t expect; /* its sequence */
	uint64_t seq;	 /* the newest that was told, as a record or as part of a gap */
	char *buf;	 /* owned */
	size_t len;
	uint64_t buf_at; /* where in the file buf begins */
};

enum journal_read {
	JOURNAL_END,	/* of what is written so far, or of what is intact */
	JOURNAL_RECORD, /* valid until the next call */
	JOURNAL_GAP,	/* records up to `seq` are no longer kept */
};

/* Opens the journal. Records up to `seq` are passed over. 0, or a fault; -ENOENT: there is none. */
int journal_reader_open(struct journal_reader *r, int state_dirfd, uint64_t seq);
void journal_reader_finish(struct journal_reader *r);

/* The next one: an outcome or a fault. *missed belongs to JOURNAL_GAP: how many are missing. */
int journal_reader_next(struct journal_reader *r, const struct record **ret, uint64_t *missed);

/* May a record of this sequence and type stand where `expect` is due? Only a gap passes over some.
 */
static inline int journal_follows(const struct record *r, uint64_t expect)
{
	return r->seq == expect || (r->type == RECORD_GAP && r->seq > expect);
}
