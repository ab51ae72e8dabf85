/* sources: ipc */
#include "tests/unit/scratch.h"

#include <errno.h>
#include <string.h>

#include "ipc/base/file.h"
#include "ipc/base/mem.h"
#include "ipc/history.h"

struct journal {
	uint64_t align;
	unsigned char bytes[16384];
	size_t len;
	uint64_t seq;
	size_t ends[32]; /* ends[n]: file size with n records */
};

static void journal_begin(struct journal *j)
{
	struct journal_head head = {.magic = JOURNAL_MAGIC,
		.version = JOURNAL_VERSION,
		.size = sizeof(head),
		.id = "web",
		.boot_id = "11111111-2222-3333-4444-555555555555",
		.seq_first = 1};

	memset(j, 0, sizeof(*j));
	memcpy(j->bytes, &head, sizeof(head));
	j->len = sizeof(head);
	j->ends[0] = j->len;
}

static void journal_add(
	struct journal *j, enum record_type type, uint32_t run, const void *body, size_t len)
{
	struct record head = {.type = (uint8_t)type, .seq = ++j->seq, .run = run, .real_usec = 7};

	assert_true(j->len + sizeof(head) + RECORD_BODY_MAX + 8 <= sizeof(j->bytes));
	j->len += record_encode(j->bytes + j->len, head, body, len);
	j->ends[j->seq] = j->len;
}

/* A container that started, crashed by SIGSEGV, came back, and was stopped. */
static void journal_of_a_life(struct journal *j)
{
	struct rec_launch launch = {.nonce = 99, .cgroup = "/holdfast/local/web"};
	struct rec_launched launched = {.nonce = 99, .pid = 1000, .starttime = 5};
	struct rec_started started = {.pid = 1001, .init_pid = 1000, .boot_usec = 11};
	struct exit_info crash = {.seq = 1, .run = 1, .signal = 11, .restarts = 1, .count = 1};
	struct rec_stop stop = {.what = CLIENT_STOP, .signo = 15};
	struct exit_info end = {.seq = 2, .run = 2, .code = 3, .restarts = 1, .count = 1};

	journal_begin(j);
	journal_add(j, RECORD_CREATED, 0, NULL, 0);
	journal_add(j, RECORD_LAUNCH_INTENT, 0, &launch, sizeof(launch));
	journal_add(j, RECORD_LAUNCHED, 0, &launched, sizeof(launched));
	journal_add(j, RECORD_STARTED, 1, &started, sizeof(started));
	journal_add(j, RECORD_EXITED, 1, &crash, sizeof(crash));
	started.pid = 1002;
	journal_add(j, RECORD_STARTED, 2, &started, sizeof(started));
	journal_add(j, RECORD_STOP_INTENT, 2, &stop, sizeof(stop));
	journal_add(j, RECORD_EXITED, 2, &end, sizeof(end));
	journal_add(j, RECORD_DOWN, 2, &end, sizeof(end));
}

static int read_back(
	const struct scratch *s, const void *data, size_t len, struct history *h, uint64_t *end)
{
	assert_int_equal(file_replace(s->fd, "journal", data, len, 0600), 0);
	return history_read(s->fd, h, end);
}

static void folds_a_life(void **state)
{
	static const enum life_state after[] = {LIFE_NEW, LIFE_NEW, LIFE_LAUNCHING, LIFE_LAUNCHED,
		LIFE_RUNNING, LIFE_BACKOFF, LIFE_RUNNING, LIFE_STOPPING, LIFE_BACKOFF, LIFE_DOWN};
	static struct journal j;
	struct history h;
	uint64_t end;

	journal_of_a_life(&j);
	for (size_t n = 0; n < sizeof(after) / sizeof(after[0]); n++) {
		assert_int_equal(read_back(*state, j.bytes, j.ends[n], &h, &end), 0);
		assert_int_equal(end, j.ends[n]);
		assert_int_equal(h.seq, n);
		assert_int_equal(h.state, after[n]);
		assert_string_equal(h.boot_id, "11111111-2222-3333-4444-555555555555");
		if (n == 4) {
			assert_int_equal(h.pid, 1001);
			assert_int_equal(h.init_pid, 1000);
			assert_string_equal(h.cgroup, "/holdfast/local/web");
		}
		if (n == 5)
			assert_int_equal(exit_status(&h.last), 128 + 11);
	}
	assert_int_equal(h.run, 2);
	assert_int_equal(exit_status(&h.last), 3);
	assert_int_equal(h.exit_seq, 2);
	assert_int_equal(h.restarts, 1);
	assert_int_equal(h.cgroup[0], '\0');
	assert_false(h.stopping);
}

/* Asked for while it runs or when it is down: it stays so until it is opened anew. */
static void a_removal_is_remembered(void **state)
{
	struct rec_stop remove = {.what = CLIENT_REMOVE, .signo = 9};
	static struct journal j;
	struct history h;

	journal_of_a_life(&j);
	assert_int_equal(read_back(*state, j.bytes, j.len, &h, NULL), 0);
	assert_false(h.removing);
	journal_add(&j, RECORD_STOP_INTENT, 2, &remove, sizeof(remove));
	assert_int_equal(read_back(*state, j.bytes, j.len, &h, NULL), 0);
	assert_true(h.removing);
	assert_false(h.stopping); /* there is nothing to stop */
	assert_int_equal(h.state, LIFE_DOWN);
	journal_add(&j, RECORD_OPENED, 2, NULL, 0);
	assert_int_equal(read_back(*state, j.bytes, j.len, &h, NULL), 0);
	assert_false(h.removing);
}

/* A snapshot is bytes: what is no bool in it does not become one. */
static void a_snapshot_of_anything(void **state)
{
	unsigned char bytes[sizeof(struct history)];
	static struct journal j;
	struct history h;

	memset(bytes, 0x55, sizeof(bytes));
	memset(bytes + offsetof(struct history, state), 0, sizeof(h.state));
	journal_begin(&j);
	journal_add(&j, RECORD_SNAPSHOT, 1, bytes, sizeof(bytes));
	assert_int_equal(read_back(*state, j.bytes, j.len, &h, NULL), 0);
	assert_int_equal(h.run, 0x55555555);
	assert_int_equal(*(unsigned char *)&h.stopping, 1);
	assert_int_equal(*(unsigned char *)&h.removing, 1);
	assert_int_equal(h.seq, 1);
}

/* Cut anywhere: the whole records before the cut count, and nothing else. */
static void every_torn_tail(void **state)
{
	static struct journal j;
	struct history h;
	uint64_t end;

	journal_of_a_life(&j);
	for (size_t len = 0; len <= j.len; len += 3) {
		size_t whole = 0;
		int r = read_back(*state, j.bytes, len, &h, &end);

		if (len < j.ends[0]) {
			assert_int_equal(r, -EBADMSG);
			continue;
		}
		while (whole < j.seq && j.ends[whole + 1] <= len)
			whole++;
		assert_int_equal(r, 0);
		assert_int_equal(h.seq, whole);
		assert_int_equal(end, j.ends[whole]);
	}
}

/* One flipped byte: the records before it count, it and what follows never do. */
static void every_flipped_byte(void **state)
{
	static struct journal j;
	struct history h;
	uint64_t end;

	journal_of_a_life(&j);
	for (size_t i = 0; i < j.len; i++) {
		size_t before = 0;
		int r;

		j.bytes[i] ^= 0x10;
		r = read_back(*state, j.bytes, j.len, &h, &end);
		j.bytes[i] ^= 0x10;
		if (i < j.ends[0]) {
			assert_true(r == 0 || r == -EBADMSG || r == -EPROTO);
			continue;
		}
		while (before < j.seq && j.ends[before + 1] <= i)
			before++;
		assert_int_equal(r, 0);
		assert_int_equal(h.seq, before);
		assert_int_equal(end, j.ends[before]);
	}
}

static void a_later_release(void **state)
{
	static struct journal j;
	struct history h;

	journal_begin(&j);
	journal_add(&j, RECORD_CREATED, 0, NULL, 0);
	journal_add(&j, (enum record_type)200, 0, "future", 6);
	assert_int_equal(read_back(*state, j.bytes, j.len, &h, NULL), 0);
	assert_int_equal(h.seq, 2);
	assert_int_equal(h.state, LIFE_NEW);
}

/* Paused is state, and ends with the sandbox that stands still. */
static void paused(void **state)
{
	static struct journal j;
	struct rec_launch launch = {.nonce = 1};
	struct exit_info end = {.run = 1};
	const struct {
		enum record_type type;
		const void *body;
		size_t len;
		bool paused;
	} steps[] = {
		{RECORD_PAUSED, NULL, 0, true},
		{RECORD_RESUMED, NULL, 0, false},
		{RECORD_PAUSED, NULL, 0, true},
		{RECORD_UPDATED, "memory 1", 9, true},
		{RECORD_LAUNCH_INTENT, &launch, sizeof(launch), false},
		{RECORD_PAUSED, NULL, 0, true},
		{RECORD_DOWN, &end, sizeof(end), false},
	};
	struct history h;

	journal_begin(&j);
	journal_add(&j, RECORD_CREATED, 0, NULL, 0);
	for (size_t i = 0; i < array_size(steps); i++) {
		journal_add(&j, steps[i].type, 1, steps[i].body, steps[i].len);
		assert_int_equal(read_back(*state, j.bytes, j.len, &h, NULL), 0);
		assert_int_equal(h.paused, steps[i].paused);
	}
}

static void not_a_journal(void **state)
{
	static struct journal j;
	const struct scratch *s = *state;
	struct history h;

	assert_int_equal(history_read(s->fd, &h, NULL), -ENOENT);
	assert_int_equal(symlinkat("/etc/passwd", s->fd, "journal"), 0);
	assert_int_equal(history_read(s->fd, &h, NULL), -ELOOP);
	assert_int_equal(unlinkat(s->fd, "journal", 0), 0);
	memset(j.bytes, 0xff, sizeof(j.bytes));
	assert_int_equal(read_back(s, j.bytes, sizeof(j.bytes), &h, NULL), -EBADMSG);
	assert_int_equal(read_back(s, "", 0, &h, NULL), -EBADMSG);
}

static void statuses(void **state)
{
	assert_int_equal(exit_status(&(struct exit_info){.code = 7}), 7);
	assert_int_equal(exit_status(&(struct exit_info){.signal = 9}), 137);
	assert_int_equal(exit_status(&(struct exit_info){.flags = EXIT_UNKNOWN, .code = 7}), 125);
}

/* Which run was ended for its health, and for what, survives a snapshot and later runs. */
static void test_unhealthy(void **state)
{
	struct rec_health b = {.source = HEALTH_BY_PROBE, .kind = 2, .signo = 15, .grace_usec = 9};
	struct {
		struct record r;
		unsigned char body[RECORD_BODY_MAX + 8];
	} rec;
	struct history h, was;

	memset(b.text, 'x', sizeof(b.text)); /* no end of its own */
	history_init(&h);
	record_encode(
		&rec, (struct record){.type = RECORD_UNHEALTHY, .seq = 1, .run = 3}, &b, sizeof(b));
	history_apply(&h, &rec.r);
	assert_int_equal(h.unhealthy.run, 3);
	assert_true(h.unhealthy.signo == 15 && h.unhealthy.grace_usec == 9);
	assert_int_equal(strlen(h.unhealthy.text), HEALTH_TEXT - 1);
	was = h;
	memset(was.unhealthy.text, 'y', sizeof(was.unhealthy.text));
	record_encode(&rec, (struct record){.type = RECORD_SNAPSHOT, .seq = 2, .run = 4}, &was,
		sizeof(was));
	history_apply(&h, &rec.r);
	assert_int_equal(h.unhealthy.run, 3);
	assert_int_equal(strlen(h.unhealthy.text), HEALTH_TEXT - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_scratch(folds_a_life),
		in_scratch(a_removal_is_remembered),
		in_scratch(a_snapshot_of_anything),
		in_scratch(every_torn_tail),
		in_scratch(every_flipped_byte),
		in_scratch(a_later_release),
		in_scratch(paused),
		in_scratch(not_a_journal),
		cmocka_unit_test(statuses),
		cmocka_unit_test(test_unhealthy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
