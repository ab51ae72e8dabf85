/* The journal, read as a file of anybody's making, and its records as events. Few inputs get past
 * the sums: the first byte says whether the rest is the file itself or what stands in its records.
 * Works in the current directory. */
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <unistd.h>

#include "ipc/event_msg.h"
#include "ipc/msg.h"
#include "shim/journal.h"

#define FILE_MAX (256u << 10)

static char file[FILE_MAX] __attribute__((aligned(8)));
static int dirfd = -1;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	dirfd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	claim(dirfd >= 0);
	return 0;
}

static size_t make_records(struct tape *t, uint64_t *seq)
{
	struct journal_head *head = (void *)file;
	size_t at = sizeof(*head);

	*head = (struct journal_head){
		.magic = JOURNAL_MAGIC, .version = JOURNAL_VERSION, .size = sizeof(*head)};
	tape_into(t, head->boot_id, sizeof(head->boot_id));
	head->seq_first = *seq = tape_byte(t);
	while (t->left > 0 && at + sizeof(struct record) + RECORD_BODY_MAX + 8 <= FILE_MAX) {
		struct record r = {.type = tape_byte(t), .flags = tape_byte(t), .seq = (*seq)++};
		size_t len;
		const uint8_t *body;

		r.run = tape_byte(t);
		body = tape_span(t, tape_byte(t) * 5u, &len);
		at += record_encode(file + at, r, body, len);
	}
	return at;
}

static void write_file(size_t len)
{
	int fd = openat(dirfd, "journal", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	claim(fd >= 0 && write(fd, file, len) == (ssize_t)len);
	close(fd);
}

static void as_event(const struct record *r)
{
	static struct event_msg e;
	Holdfast__V1__Event *list[1] = {&e.event};
	Holdfast__V1__WatchResponse m;
	struct msg_frame f;

	event_from_record(&e, r);
	claim(e.event.sequence == r->seq);
	holdfast__v1__watch_response__init(&m);
	m.n_events = 1;
	m.events = list;
	claim(msg_data(&f, 1, &m.base) == 0); /* else its watchers would wait for ever */
	claim(f.len < TTRPC_FRAME_MAX / 8);
}

/* As a stream sees it: from any place, without a hole, to the end. */
static void walk(struct journal *j, uint64_t from)
{
	static uint64_t buf[(12u << 10) / 8];
	struct journal_place p = {.seq = from};
	uint64_t missed, last = from;
	ssize_t n;

	while ((n = journal_read(j, &p, buf, sizeof(buf), &missed)) > 0) {
		last += missed;
		for (size_t at = 0; at < (size_t)n;) {
			const struct record *r = (const void *)((char *)buf + at);

			claim(r->seq == last + 1 || (r->seq > last && r->type == RECORD_GAP));
			last = r->seq;
			as_event(r);
			journal_passed(&p, r);
			at += r->len;
		}
	}
	claim(from >= j->now.seq || last == j->now.seq);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tape t = {data, size};
	bool made = tape_byte(&t) & 1;
	uint64_t seq = 0, end;
	struct history h, again;
	struct journal j;
	size_t len;

	if (made) {
		len = make_records(&t, &seq);
	} else {
		const uint8_t *bytes = tape_span(&t, FILE_MAX, &len);

		memcpy(file, bytes, len);
	}
	write_file(len);
	if (history_read(dirfd, &h, &end) < 0)
		return 0;
	claim((unsigned)h.state < LIFE_STATES && end <= len);
	claim(memchr(h.cgroup, '\0', sizeof(h.cgroup)) && h.boot_id[BOOT_ID_LEN] == '\0');
	claim(!made || end == len);
	/* what is written of it is read back: compaction does that */
	claim(h.stopping <= 1 && h.opened <= 1 && h.up_once <= 1 && h.restarting <= 1);
	history_init(&again);
	claim(journal_open(&j, dirfd, "fuzz") == 0);
	claim(j.end == end);
	if (made)
		walk(&j, h.seq > 3 ? h.seq - 3 : 0);
	journal_append(&j, RECORD_SNAPSHOT, 0, h.run, &h, sizeof(h));
	claim(j.now.state == h.state && strcmp(j.now.cgroup, h.cgroup) == 0);
	close(j.fd);
	return 0;
}
