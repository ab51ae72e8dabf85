/* The writer of a container's journal (format: ipc/record.h). One writer at a time, under the lock.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ipc/history.h"

#define JOURNAL_MARKS 64u

struct journal {
	int dirfd; /* not owned: the state directory */
	int fd;
	uint64_t end;	   /* where the next record goes */
	uint64_t max;	   /* compacted when it is larger; bytes */
	uint64_t reserved; /* disk up to here is ours already */
	uint32_t lost; /* records that could not be written (disk full); told when one can be again
			*/
	uint32_t lost_exits; /* so many of them were exits */
	int err;	     /* why */
	struct history now;  /* everything written so far, folded */
	uint32_t file; /* counts the files: compaction makes a new one, in which places differ */
	void (*appended)(void *ctx); /* a record more; may be NULL */
	void *ctx;
	/* Where some records of this file begin, as seeking came by: nobody makes us read all of it
	 * again and again. */
	struct journal_mark {
		uint64_t seq, at;
	} marks[JOURNAL_MARKS];
	unsigned marks_len;
};

/* A reader's place: behind the record with this sequence. Only the sequence means anything to
 * others; the rest is where to look first. */
struct journal_place {
	uint64_t seq;
	uint64_t at;
	uint32_t file;
};

/* Opens or creates it; a torn tail is cut off. HOLDFAST_JOURNAL_SIZE bounds it (8 MiB). 0: it was
 * there; 1: it is new; or a fault. */
int journal_open(struct journal *j, int state_dirfd, const char *id);

/* Goes on in another boot of the host: 0 or a fault. */
int journal_rebase(struct journal *j, const char *boot);

/* Appends one record and folds it. A record that the disk does not take is folded all the same and
 * counted: supervision goes on. */
void journal_append(struct journal *j, enum record_type type, uint8_t flags, uint32_t run,
	const void *body, size_t len);

/* Whole records that follow the place, as many as fit buf (8-byte aligned): their bytes, 0: there
 * are none, or a fault. What is no longer kept in between is told in *missed (0: nothing), and the
 * place moves behind it. The caller moves the place on with journal_passed(). */
ssize_t journal_read(
	struct journal *j, struct journal_place *p, void *buf, size_t size, uint64_t *missed);
void journal_passed(struct journal_place *p, const struct record *r);

/* RECORD_WARNING with a sentence, which also goes to the log. */
void journal_warn(struct journal *j, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
