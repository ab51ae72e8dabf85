/* sources: shim/journal.c ipc */
#include "tests/unit/scratch.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/base/fd.h"
#include "ipc/journal_reader.h"
#include "shim/journal.h"

#define MAX (1u << 20)

static void begin(struct journal *j, const struct scratch *s)
{
	assert_int_equal(journal_open(j, s->fd, "web"), 1);
	j->max = MAX;
	journal_append(j, RECORD_CREATED, 0, 0, NULL, 0);
}

static void end(struct journal *j)
{
	fd_close(&j->fd);
}

static void add_exit(struct journal *j, uint32_t n)
{
	const struct exit_info e = {.seq = n, .run = n, .code = n % 250, .count = 1};

	journal_append(j, RECORD_EXITED, 0, n, &e, sizeof(e));
}

static void add_notes(struct journal *j, size_t bytes)
{
	char text[1200];

	memset(text, 'x', sizeof(text));
	for (size_t i = 0; i < bytes / sizeof(text); i++)
		journal_append(j, RECORD_WARNING, 0, 1, text, sizeof(text));
}

static uint64_t file_size(const struct scratch *s)
{
	struct stat st;

	assert_int_equal(fstatat(s->fd, "journal", &st, 0), 0);
	return (uint64_t)st.st_size;
}

struct seen {
	uint64_t last, missed;
	uint32_t exits, first_exit, last_exit;
};

static void look(struct journal_reader *r, struct seen *seen)
{
	const struct record *rec;
	uint64_t missed;
	int outcome;

	while ((outcome = journal_reader_next(r, &rec, &missed)) > 0) {
		if (outcome == JOURNAL_GAP) {
			seen->missed += missed;
			seen->last += missed;
			assert_int_equal(r->seq, seen->last);
			continue;
		}
		assert_int_equal(rec->seq, seen->last + 1);
		seen->last = rec->seq;
		if (rec->type != RECORD_EXITED)
			continue;
		if (!seen->exits++)
			seen->first_exit = rec->run;
		else
			assert_int_equal(rec->run, seen->last_exit + 1);
		seen->last_exit = rec->run;
	}
	assert_int_equal(outcome, 0);
}

static void compaction_keeps_the_last_100_exits(void **state)
{
	struct journal_reader r;
	struct seen seen = {0};
	struct journal j;
	struct history h;

	begin(&j, *state);
	for (uint32_t n = 1; n <= 170; n++) {
		add_exit(&j, n);
		add_notes(&j, 20000);
	}
	add_notes(&j, 3 * MAX); /* far more than all that is kept as it is */
	assert_true(j.file >= 3);
	assert_true(file_size(*state) <= MAX + 2 * RECORD_BODY_MAX);

	assert_int_equal(journal_reader_open(&r, ((struct scratch *)*state)->fd, 0), 0);
	look(&r, &seen);
	journal_reader_finish(&r);
	assert_true(seen.exits >= 100);
	assert_int_equal(seen.last_exit, 170);
	assert_int_equal(seen.first_exit + seen.exits - 1, 170);
	assert_int_equal(seen.last, j.now.seq);
	assert_true(seen.missed > 0);

	assert_int_equal(history_read(((struct scratch *)*state)->fd, &h, NULL), 0);
	assert_memory_equal(&h, &j.now, sizeof(h));
	end(&j);
}

/* A reader that stands in the old file goes on in the new one: nothing twice, what is missing is
 * told. */
static void a_reader_outlives_compaction(void **state)
{
	struct journal_reader r;
	struct seen seen = {0};
	struct journal j;

	begin(&j, *state);
	assert_int_equal(journal_reader_open(&r, ((struct scratch *)*state)->fd, 0), 0);
	for (uint32_t n = 1; n <= 400; n++) {
		add_exit(&j, n);
		add_notes(&j, 10000);
		if (n % 7 == 0)
			look(&r, &seen);
	}
	look(&r, &seen);
	assert_true(j.file >= 2);
	assert_int_equal(seen.missed, 0);
	assert_int_equal(seen.exits, 400);
	add_notes(&j, 4 * MAX); /* now it is away for longer than is kept */
	look(&r, &seen);
	assert_true(seen.missed > 0);
	assert_int_equal(seen.last, j.now.seq);
	journal_reader_finish(&r);
	end(&j);
}

/* The shim's own reader, for watchers, tells the same gaps. */
static void watchers_are_told_of_gaps(void **state)
{
	static uint64_t buf[1024];
	struct journal_place place = {0};
	uint64_t missed, last = 0, gaps = 0;
	struct journal j;

	begin(&j, *state);
	for (uint32_t n = 1; n <= 120; n++)
		add_exit(&j, n);
	add_notes(&j, 3 * MAX);
	for (;;) {
		ssize_t n = journal_read(&j, &place, buf, sizeof(buf), &missed);

		assert_true(n >= 0);
		if (n == 0)
			break;
		last += missed;
		for (size_t at = 0; at < (size_t)n;) {
			const struct record *rec = (const void *)((char *)buf + at);

			assert_true(journal_follows(rec, last + 1));
			gaps += rec->type == RECORD_GAP;
			last = rec->seq;
			at += rec->len;
			journal_passed(&place, rec);
		}
	}
	assert_int_equal(last, j.now.seq);
	assert_true(gaps > 0);
	end(&j);
}

static void limit(uint64_t bytes)
{
	const struct rlimit l = {.rlim_cur = bytes, .rlim_max = RLIM_INFINITY};

	assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

/* The limit cuts a write short, as a full disk does. */
static void a_write_cut_short_leaves_no_torn_tail(void **state)
{
	const struct scratch *s = *state;
	struct journal_reader r;
	const struct record *rec;
	uint64_t before, missed, lost = 0;
	struct journal j;
	struct history h;

	signal(SIGXFSZ, SIG_IGN);
	begin(&j, *state);
	add_exit(&j, 1);
	before = j.end;
	limit(before + 20);
	add_exit(&j, 2);
	add_exit(&j, 3);
	assert_int_equal(j.lost, 2);
	assert_int_equal(j.end, before);
	assert_int_equal(file_size(s), before);
	assert_int_equal(j.now.last.run, 3); /* it counts all the same */

	limit(RLIM_INFINITY);
	add_exit(&j, 4);
	assert_int_equal(j.lost, 0);
	assert_int_equal(journal_reader_open(&r, s->fd, 0), 0);
	while (journal_reader_next(&r, &rec, &missed) == JOURNAL_RECORD)
		lost += rec->type == RECORD_EXIT_GAP
				? ((const struct exit_info *)record_body(rec))->count
				: 0;
	journal_reader_finish(&r);
	assert_int_equal(lost, 2);
	assert_int_equal(history_read(s->fd, &h, NULL), 0);
	assert_int_equal(h.last.run, 4);
	/* created, exit 1, exit 4, "2 exits are lost", "records lost" */
	assert_int_equal(h.seq, 5);
	end(&j);
}

static void a_torn_tail_is_cut_off_by_the_next_writer(void **state)
{
	const struct scratch *s = *state;
	struct journal j;
	uint64_t whole;

	begin(&j, *state);
	add_exit(&j, 1);
	whole = j.end;
	add_exit(&j, 2);
	assert_int_equal(ftruncate(j.fd, (off_t)j.end - 9), 0);
	end(&j);
	assert_int_equal(journal_open(&j, s->fd, "web"), 0);
	assert_int_equal(j.end, whole);
	assert_int_equal(file_size(s), whole);
	assert_int_equal(j.now.last.run, 1);
	add_exit(&j, 2);
	assert_int_equal(j.now.seq, 3);
	end(&j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_scratch(compaction_keeps_the_last_100_exits),
		in_scratch(a_reader_outlives_compaction),
		in_scratch(watchers_are_told_of_gaps),
		in_scratch(a_write_cut_short_leaves_no_torn_tail),
		in_scratch(a_torn_tail_is_cut_off_by_the_next_writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
