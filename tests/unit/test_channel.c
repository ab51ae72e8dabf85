/* sources: ipc */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/base/mem.h"
#include "ipc/channel.h"

struct pair {
	int a, b;
	struct packet p;
};

static int setup(void **state)
{
	struct pair *pair = calloc(1, sizeof(*pair));
	int fds[2];

	if (!pair || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -1;
	pair->a = fds[0];
	pair->b = fds[1];
	*state = pair;
	return 0;
}

static int teardown(void **state)
{
	struct pair *pair = *state;

	close(pair->a);
	close(pair->b);
	free(pair);
	return 0;
}

static int open_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void carries_all(void **state)
{
	struct pair *pair = *state;
	struct packet *p = &pair->p;
	int fds[2], got;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(channel_send(pair->a, 123, 0xfeedface12345678ULL, "body", 5, fds, 2), 0);
	assert_int_equal(channel_recv(pair->b, p, 1), 1);
	assert_int_equal(p->h.verb, 123);
	assert_true(p->h.tag == 0xfeedface12345678ULL);
	assert_int_equal(p->h.len, 5);
	assert_string_equal((const char *)p->body, "body");
	assert_int_equal(p->h.nfds, 2);
	got = packet_take_fd(p, 1);
	assert_true(got >= 0);
	assert_int_equal(fcntl(got, F_GETFD), FD_CLOEXEC);
	assert_int_equal(packet_take_fd(p, 1), -1);
	assert_int_equal(packet_take_fd(p, 99), -1);
	packet_finish(p);
	assert_int_equal(fcntl(got, F_GETFD), FD_CLOEXEC); /* taken: not closed */
	close(got);
	close(fds[0]);
	close(fds[1]);
}

static void empty_and_gone(void **state)
{
	struct pair *pair = *state;

	assert_int_equal(channel_recv(pair->b, &pair->p, 1), -EAGAIN);
	assert_int_equal(channel_send(pair->a, 1, 0, NULL, 0, NULL, 0), 0);
	shutdown(pair->a, SHUT_WR);
	assert_int_equal(channel_recv(pair->b, &pair->p, 1), 1);
	assert_int_equal(pair->p.h.len, 0);
	assert_int_equal(channel_recv(pair->b, &pair->p, 1), 0);
}

static void bounds(void **state)
{
	struct pair *pair = *state;
	static unsigned char big[CHANNEL_BODY_MAX + 1];
	int fds[CHANNEL_FDS_MAX + 1];

	for (size_t i = 0; i < array_size(fds); i++)
		fds[i] = pair->a;
	assert_int_equal(channel_send(pair->a, 1, 0, big, sizeof(big), NULL, 0), -EMSGSIZE);
	assert_int_equal(channel_send(pair->a, 1, 0, NULL, 0, fds, array_size(fds)), -EMSGSIZE);
	memset(big, 'z', sizeof(big));
	assert_int_equal(
		channel_send(pair->a, 1, 0, big, CHANNEL_BODY_MAX, fds, CHANNEL_FDS_MAX), 0);
	assert_int_equal(channel_recv(pair->b, &pair->p, 1), 1);
	assert_int_equal(pair->p.h.len, CHANNEL_BODY_MAX);
	assert_int_equal(pair->p.body[CHANNEL_BODY_MAX - 1], 'z');
	assert_int_equal(pair->p.h.nfds, CHANNEL_FDS_MAX);
	packet_finish(&pair->p);
}

static void send_raw(int fd, const void *data, size_t len, const int *fds, size_t nfds)
{
	char control[CMSG_SPACE(sizeof(int) * 64)];
	struct iovec iov = {(void *)(uintptr_t)data, len};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	if (nfds) {
		m.msg_control = control;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
		CMSG_FIRSTHDR(&m)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&m)->cmsg_type = SCM_RIGHTS;
		CMSG_FIRSTHDR(&m)->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), fds, sizeof(int) * nfds);
	}
	assert_int_equal(sendmsg(fd, &m, 0), len);
}

/* A packet that is not one of ours is refused, costs no descriptor, and the next one is read. */
static void foreign_packets(void **state)
{
	struct pair *pair = *state;
	static unsigned char huge[sizeof(struct msg) + CHANNEL_BODY_MAX + 1];
	struct msg lies = {.verb = 1, .len = 4}; /* no body follows */
	struct msg claims = {.verb = 1, .nfds = 2};
	struct msg more = {.verb = 1};
	int fds[20], before;

	for (size_t i = 0; i < array_size(fds); i++)
		fds[i] = pair->a;
	before = open_fds();
	send_raw(pair->a, "short", 5, NULL, 0);
	send_raw(pair->a, &lies, sizeof(lies), NULL, 0);
	send_raw(pair->a, &claims, sizeof(claims), fds, 1);
	send_raw(pair->a, &more, sizeof(more), fds, 3);
	send_raw(pair->a, &more, sizeof(more), fds, array_size(fds));
	send_raw(pair->a, huge, sizeof(huge), fds, 1);
	for (int i = 0; i < 6; i++)
		assert_int_equal(channel_recv(pair->b, &pair->p, 1), -EBADMSG);
	assert_int_equal(open_fds(), before);
	assert_int_equal(channel_send(pair->a, 9, 0, NULL, 0, NULL, 0), 0);
	assert_int_equal(channel_recv(pair->b, &pair->p, 1), 1);
	assert_int_equal(pair->p.h.verb, 9);
}

static void full_queue_never_blocks(void **state)
{
	struct pair *pair = *state;
	int sent = 0, r;

	while ((r = channel_send(pair->a, 7, (uint64_t)sent, "0123456", 8, NULL, 0)) == 0)
		sent++;
	assert_int_equal(r, -EAGAIN);
	assert_true(sent > 0);
	for (int i = 0; i < sent; i++) {
		assert_int_equal(channel_recv(pair->b, &pair->p, 1), 1);
		assert_int_equal(pair->p.h.tag, i);
	}
	assert_int_equal(channel_recv(pair->b, &pair->p, 1), -EAGAIN);
}

static void send_to_the_dead(void **state)
{
	struct pair *pair = *state;

	close(pair->b);
	pair->b = -1;
	assert_int_equal(channel_send(pair->a, 1, 0, NULL, 0, NULL, 0), -EPIPE);
}

#define on_a_pair(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_a_pair(carries_all),
		on_a_pair(empty_and_gone),
		on_a_pair(bounds),
		on_a_pair(foreign_packets),
		on_a_pair(full_queue_never_blocks),
		on_a_pair(send_to_the_dead),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
